"""How often anybody may ask, and what looks like farming."""

import re

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from settings.environment import CONFIG

_RATE = re.compile(r"([a-z_]+)=(?:(off)|([1-9]\d{0,8})/([1-9]\d{0,5}))")


def _parse(text: str) -> dict[str, tuple[int, int]]:
    rates: dict[str, tuple[int, int]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        match = _RATE.fullmatch(part)
        if match is None:
            raise ValueError(f"needs name=COUNT/SECONDS or name=off, not {part!r}")
        name, is_off, tokens, period_s = match.groups()
        rates[name] = (0, 1) if is_off else (int(tokens), int(period_s))
    return rates


class LimitSettings(BaseSettings):
    """Rates of token buckets, and the thresholds over which points that are gained are held.

    `rate_limits` sets limits apart by name: `exchanges=30/60,cost=off` is 30 a minute and none. The
    numbers above which points are held are an hour's, and accounts of one device; 0 holds none.
    """

    model_config = CONFIG

    rate_limits: str = ""
    rate_limit_factor: float = Field(default=1.0, gt=0)
    gains_held_above: int = Field(default=100_000, ge=0)
    invites_held_above: int = Field(default=10, ge=0)
    device_accounts_held_above: int = Field(default=3, ge=0)

    @field_validator("rate_limits")
    @classmethod
    def _is_understood(cls, text: str) -> str:
        _parse(text)
        return text

    @property
    def overrides(self) -> dict[str, tuple[int, int]]:
        """Tokens and seconds of each limit that is set apart; no tokens: it is off."""
        return _parse(self.rate_limits)
