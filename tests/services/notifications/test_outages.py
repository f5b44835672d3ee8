"""A push provider that stays away is an alert; one that comes back soon is none."""

from datetime import datetime

from services.mall import Mall
from tests.alerts import alerts, run_jobs, tellings
from tests.clock import MovableClock
from tests.doubles.both import Doubles
from tests.factories import add_user
from tests.services.notifications.pushing import PostOffice, add_device, draft, pushes

_IOS = "ab" * 32


async def wait_until_alerted(mall: Mall, office: PostOffice, clock: MovableClock) -> datetime:
    """Deliver what is due, minute by minute; since when there is an alert."""
    for _ in range(90):
        await office.deliver()
        await mall.sightings.aclose()
        if await alerts(mall):
            return clock.now
        clock.advance(minutes=1)
    raise AssertionError("nobody was alerted")


async def test_a_provider_that_stays_away(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """Raised by the probes that fail after five minutes; over when none has for half an hour."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    await add_device(mall, alice, _IOS, "ios")  # whose provider is well
    doubles.fcm.script.set("phone", "unavailable")
    for about in range(6):
        await draft(mall, alice, about=str(about))
    began = clock.now
    raised = await wait_until_alerted(mall, office, clock)
    (alert,) = await alerts(mall)
    assert (alert.kind, alert.severity) == ("push_provider_down", "medium")
    assert alert.facts["providers"] == ["fcm"]
    assert 300 <= alert.facts["down_s"] <= (raised - began).total_seconds()
    assert f"fcm has been down for {alert.facts['down_s']} s" in alert.message
    await run_jobs(mall, "check_alerts")
    doubles.fcm.script.set("phone", "success")
    clock.advance(minutes=29)
    await office.deliver()
    await office.deliver()
    assert ("sent", None) in await pushes(mall)
    await run_jobs(mall, "check_alerts")
    assert (await alerts(mall))[0].resolved_at is None
    clock.advance(minutes=1)
    await run_jobs(mall, "check_alerts")
    assert (await alerts(mall))[0].resolved_at == clock.now
    assert await tellings(mall) == [(alert.kind, "raised"), (alert.kind, "resolved")]


async def test_a_provider_that_is_back_soon(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """Its breaker opens and closes, more than once: each time counts by itself."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    for about in range(3):
        doubles.fcm.script.set("phone", *["unavailable"] * 6, "success")
        for number in range(6):
            await draft(mall, alice, about=f"{about} {number}")
        for _ in range(20):
            await office.deliver()
            clock.advance(seconds=31)
    await mall.sightings.aclose()
    assert await alerts(mall) == []
    assert {status for status, _ in await pushes(mall)} == {"sent"}
