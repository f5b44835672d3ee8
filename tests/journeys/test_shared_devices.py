"""A device that many members use: who is one too many gains nothing that nobody looked at."""

from dataclasses import replace

import pytest

from settings import LimitSettings, Settings
from tests.client import Client
from tests.clock import MovableClock
from tests.journeys.steps import check_in
from tests.journeys.test_devices import register
from tests.journeys.test_held_points import held


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mall that holds what the third account of a device gains."""
    limits = LimitSettings(rate_limit_factor=1_000, device_accounts_held_above=2)
    return replace(settings, limits=limits)


async def test_the_third_account_of_a_device_gains_nothing_unseen(
    client: Client, clock: MovableClock
) -> None:
    """Its first two members gain as ever, also when they come back after the third.

    After a month the third does, too.
    """
    await client.user_id("boss", "operator")
    for name in ("alice", "bob", "carol"):
        await client.user_id(name)
    for name in ("alice", "alice", "bob", "carol", "carol", "alice", "bob"):
        await register(client, name, token="one phone")
        clock.advance(hours=-1)  # the next one's process has another clock
    for name in ("alice", "bob", "carol"):
        await check_in(client, name)
    [found] = await held(client)
    assert (found["user"]["username"], found["reason"]) == ("carol", "SHARED_DEVICE")
    clock.advance(days=31)
    await check_in(client, "carol")
    assert len(await held(client)) == 1


async def test_who_was_away_for_long_comes_anew(client: Client, clock: MovableClock) -> None:
    """First a month ago is not first now: others have the device meanwhile."""
    await client.user_id("boss", "operator")
    for name in ("alice", "bob", "carol"):
        await client.user_id(name)
    await register(client, "alice", token="one phone")
    clock.advance(days=31)
    for name in ("bob", "carol", "alice"):
        await register(client, name, token="one phone")
        await check_in(client, name)
    assert [each["user"]["username"] for each in await held(client)] == ["alice"]
