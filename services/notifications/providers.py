"""What is sent to push providers, and what they answer, whichever provider it is.

Rules: `domain.md`, Notifications; what each answer of a provider becomes: `docs/decisions/0016`.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Platform = Literal["android", "ios", "web"]

# APNs takes 64 bytes. It goes into headers, where anything but visible ASCII is trouble.
_COLLAPSE_ID = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class PushMessage:
    """One push for one device. A later one with the same `collapse_id` replaces it on the device.

    `token` is the device's, as its app registered it. Raises ValueError for a collapse id that is
    not 1 to 64 visible ASCII characters.
    """

    token: str
    title: str
    body: str
    data: Mapping[str, str]
    collapse_id: str

    def __post_init__(self) -> None:
        """Refuse what no provider would take from anybody."""
        if not _COLLAPSE_ID.fullmatch(self.collapse_id):
            raise ValueError(f"not 1 to 64 visible ASCII characters: {self.collapse_id!r}")


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took it; `provider_message_id` is its name for it."""

    provider_message_id: str


@dataclass(frozen=True, slots=True)
class DeviceGone:
    """The token reaches no device of ours: drop it.

    Unless the device registered the token again after `since`, where the provider says one.
    """

    reason: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class PayloadRejected:
    """The provider refuses this very push: sending it again is useless, the device is fine."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not sent, or not known to be: try again after `after_s`, or with backoff where it is None.

    `is_outage`: neither the device nor the push is at fault, so others would fare the same.
    `is_throttle`: the provider is well, but wants no more from us for now, whoever it is for.
    """

    after_s: float | None
    reason: str
    is_outage: bool = False
    is_throttle: bool = False


@dataclass(frozen=True, slots=True)
class NotTried:
    """The provider was not asked: it is down or wants a rest, or we are stopping."""

    after_s: float


Outcome = Sent | DeviceGone | PayloadRejected | RetryLater | NotTried


class PushChannel(Protocol):
    """The way to one provider, for one message at a time."""

    async def deliver(self, message: PushMessage) -> Outcome:
        """Hand a message to the provider; never raises for what a provider or network does."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class PushProvider(Protocol):
    """A provider as jobs see it. Belongs to the event loop in which it was opened."""

    async def send(
        self,
        messages: Sequence[PushMessage],
        stopping: asyncio.Event | None = None,
        *,
        is_awaited: bool = True,
    ) -> list[Outcome]:
        """Send them all; one outcome per message, in their order.

        What `is_awaited` by a member does not wait behind what is not. Once `stopping` is set no
        other message is begun. Never raises for what a provider or network does. A repeat may
        reach the device twice, where it replaces the first.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections; nothing may be on its way any more."""
        ...
