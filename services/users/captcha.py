"""Whether a person is there, asked of a captcha provider by the siteverify protocol."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import httpx2

from settings import CaptchaSettings

_OK = 200
Provider = Literal["turnstile", "hcaptcha", "recaptcha"]


class CaptchaUnavailable(Exception):
    """The provider gave no verdict: it is away, or it does not accept our secret."""


@dataclass(frozen=True, slots=True)
class _Service:
    verify_url: str
    longest_token: int


# Turnstile documents its limit. The others document none: hCaptcha's tokens pass 4,000 characters,
# and reCAPTCHA answers 400 from about 4,000 on.
_SERVICES: dict[Provider, _Service] = {
    "turnstile": _Service("https://challenges.cloudflare.com/turnstile/v0/siteverify", 2_048),
    "hcaptcha": _Service("https://api.hcaptcha.com/siteverify", 16_384),
    "recaptcha": _Service("https://www.google.com/recaptcha/api/siteverify", 4_000),
}
# Refusals that no member can do anything about: said to be an outage, never "you are no human".
_NOT_THE_MEMBERS_FAULT = frozenset(
    {"missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch", "internal-error"}
)


class CaptchaVerifier:
    """Asks the configured provider about the tokens that its widget gave to members."""

    def __init__(self, captcha: CaptchaSettings) -> None:
        """Ask for nothing yet."""
        service = _SERVICES[captcha.captcha_provider]
        self.provider: Provider = captcha.captcha_provider
        self.site_key = captcha.captcha_site_key
        self._secret = captcha.captcha_secret
        self._url = captcha.captcha_verify_url or service.verify_url
        self._longest_token = service.longest_token
        self._timeout_s = captcha.captcha_timeout_s
        self._settings = captcha
        self._client = httpx2.AsyncClient(timeout=captcha.captcha_timeout_s)

    async def passes(self, token: str | None, remote_address: str | None) -> bool:
        """Tell whether the provider vouches for the token; it does so once.

        Without a secret, or for what cannot be a token, the answer is no and nobody is asked.
        Raises CaptchaUnavailable when the provider gives no verdict.
        """
        if not token or not token.isascii() or len(token) > self._longest_token:
            return False
        if not self._secret:
            return False
        form = {"secret": self._secret.get_secret_value(), "response": token}
        if remote_address is not None:
            form["remoteip"] = remote_address
        facts = _facts(await self._ask(form))
        return _verdict(facts) and _fits(facts, self._settings)

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        await self._client.aclose()

    async def _ask(self, form: dict[str, str]) -> object:
        try:
            # httpx2's timeout is per read: a provider that drips would hold us for ever.
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.post(self._url, data=form)
            if answer.status_code != _OK:
                raise CaptchaUnavailable(f"{self.provider} answered {answer.status_code}")
            return answer.json()
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            raise CaptchaUnavailable(f"{self.provider}: {error!r}") from error


def _facts(answer: object) -> Mapping[str, object]:
    return cast("dict[str, object]", answer) if isinstance(answer, dict) else {}


def _fits(facts: Mapping[str, object], settings: CaptchaSettings) -> bool:
    """Whether it is about this widget, on a page of ours, and the provider is sure enough.

    Scores are what only some services give: reCAPTCHA v3, for which success alone says nothing.
    """
    score, action = facts.get("score"), facts.get("action")
    if isinstance(score, int | float) and score < settings.captcha_min_score:
        return False
    if settings.captcha_action and action != settings.captcha_action:
        return False
    return not settings.hostnames or facts.get("hostname") in settings.hostnames


def _verdict(facts: Mapping[str, object]) -> bool:
    success, codes = facts.get("success"), facts.get("error-codes")
    if not isinstance(success, bool):
        raise CaptchaUnavailable("the answer says neither success nor failure")
    if not success and isinstance(codes, list):
        faults = _NOT_THE_MEMBERS_FAULT.intersection(map(str, cast("list[object]", codes)))
        if faults:
            raise CaptchaUnavailable(f"refused for {sorted(faults)}")
    return success
