"""What is not done any more for somebody erased, and what the books still need."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schema.ids import encode_id
from services.imports.files import Line
from services.imports.opening_balances import OpeningBalance, import_balances, read_balance
from services.imports.run import Settled
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from services.users.erased_subjects import digest_of
from tests.client import Client
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import (
    add_item,
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.money import ask, grant, reverse
from tests.journeys.steps import check_in, complete, event, exchange, record
from tests.journeys.test_profile import UPDATE
from tests.journeys.test_wishes import WISH

REASON = "the personal data of this user was erased: nothing is imported for them any more"
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def erase(mall: Mall, subject: str = "alice") -> None:
    """Erase a member who is there."""
    async with transaction(mall.stores.write) as session:
        assert await erase_user(session, subject, mall.clock(), timezone="Asia/Shanghai")


async def moving_in(mall: Mall, *lines: str) -> Settled:
    """Import lines of user and points."""
    read: list[OpeningBalance] = []
    for number, line in enumerate(lines):
        values = dict(zip(("user", "points"), line.split(","), strict=True))
        balance = read_balance(Line(number, line, values), mall.clock())
        assert isinstance(balance, OpeningBalance)
        read.append(balance)
    async with transaction(mall.stores.bulk) as session:
        return await import_balances(session, read, clock=mall.clock, zone=mall.zone)


@pytest.fixture
async def alice(mall: Mall, client: Client) -> int:
    """Alice, with 100 points for an order and a coupon, known to a process."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    for name in ("shop", "boss", "till"):
        await client.user_id(name, "service", "operator")
    await grant(client, user_id, 150, "key", reference="order-1")
    coupon = await add_item(mall, type="coupon", config={"generate": True}, points=50)
    assert (await exchange(client, "alice", coupon))["remainingPoints"] == 100
    return user_id


async def test_nobody_moves_in_twice(mall: Mall, tmp_path: Path) -> None:
    """A line of somebody erased is rejected with the reason, again and again; others go on."""
    path = tmp_path / "balances.csv"
    path.write_text("user,points\nalice,100\n")
    assert (await run_command(mall.settings, "points", "import", str(path))).returncode == 0
    await erase(mall)
    again = tmp_path / "again.csv"
    again.write_text("user,points\nalice,100\nbob,7\nalice,100\n")
    done = await run_command(mall.settings, "points", "import", str(again))
    assert done.stdout.startswith("1 imported, 0 known before, 2 rejected")
    rejected = (tmp_path / "again.csv.rejected.csv").read_text()
    assert rejected == "".join(f"{number},{REASON},alice,100\n" for number in (2, 4))
    assert await execute(mall, "SELECT points FROM users ORDER BY id") == [(100,), (7,)]


async def test_who_comes_back_is_somebody_new_without_an_opening_balance(
    mall: Mall, client: Client
) -> None:
    """The new user of the same subject is served, but their points stayed with the old one."""
    await moving_in(mall, "alice,100")
    await erase(mall)
    await client.user_id("alice")
    settled = await moving_in(mall, "alice,100")
    assert (settled.imported, settled.duplicates) == (0, 0)
    assert [reason for _, reason in settled.rejected] == [REASON]
    await erase(mall)
    assert len(await execute(mall, "SELECT 1 FROM erased_subjects")) == 1


async def test_what_is_kept_names_nobody_without_the_salt(mall: Mall, client: Client) -> None:
    """A salted hash of its own for each mall; the salt is in the database."""
    await client.user_id("alice")
    await erase(mall)
    [(salt,)] = await execute(mall, "SELECT salt FROM erasure_salt")
    assert await execute(mall, "SELECT digest FROM erased_subjects") == [
        (digest_of("alice", salt),)
    ]
    assert digest_of("alice", salt) != digest_of("alice", bytes(32))
    assert digest_of("alice", salt) != digest_of("Alice", salt)


async def test_other_systems_find_nobody(mall: Mall, client: Client, alice: int) -> None:
    """Events are rejected one by one, grants and corrections are not found; nothing changes."""
    await erase(mall)
    before = await fingerprint_of_database(mall)
    who = encode_id("User", alice)
    refused = [
        await grant(client, alice, 5, "new"),
        await ask(
            *(client, "adjustPoints", "boss", "operator"),
            userId=who,
            points=5,
            reason="r",
            idempotencyKey="new",
        ),
    ]
    assert [(each["code"], each["id"]) for each in refused] == [("NOT_FOUND", who)] * 2
    purchase = event(alice, "e", mall.clock(), "purchase", amount=10)
    answer = await record(client, purchase)
    assert answer["rejected"] == [{"eventId": "e", "message": "userId names no user"}]
    assert (answer["recorded"], answer["pointsEarned"]) == (0, 0)
    assert await fingerprint_of_database(mall) == before


async def test_a_call_that_was_settled_is_still_answered(
    client: Client, alice: int, mall: Mall
) -> None:
    """The same key and input: the first answer again, whatever became of the member."""
    await erase(mall)
    assert (await grant(client, alice, 150, "key", reference="order-1"))["replayed"] is True


async def test_what_was_granted_can_be_taken_back(mall: Mall, client: Client, alice: int) -> None:
    """The purchase is refunded whoever it was; what was spent is owed."""
    await erase(mall)
    taken = await reverse(client, "order-1", "back")
    assert (taken["reversedPoints"], taken["owedPoints"]) == (100, 50)
    assert await points_of(mall, alice) == 0


async def test_their_lots_still_end_and_begin(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Settling everybody comes to an end, and leaves nothing due."""
    starts = (clock() + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    await grant(client, alice, 30, "later", availableAt=starts)
    await erase(mall)
    clock.advance(days=2)
    run = "mutation { runExpiry { expiredPoints } }"
    boss = client.token("boss", "operator")
    assert (await client.post(run, None, boss))["data"]["runExpiry"] == {"expiredPoints": 0}
    assert await points_of(mall, alice) == 130
    clock.advance(days=400)
    assert (await client.post(run, None, boss))["data"]["runExpiry"] == {"expiredPoints": 130}
    assert await points_of(mall, alice) == 0


async def test_a_token_that_is_remembered_does_nothing(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Neither tasks, check-ins, exchanges, extensions nor cancellations, wishes or a profile."""
    task, item = await add_task(mall), await add_item(mall)
    lot = await give_points(mall, alice, 40, expires_at=clock() + timedelta(days=3))
    [(coupon,)] = await execute(mall, "SELECT id FROM exchanges")
    await erase(mall)
    before = await fingerprint_of_database(mall)
    extension = {"pointsRecordId": encode_id("PointsRecord", lot.id), "idempotencyKey": "new"}
    suspended = [
        await complete(client, "alice", task),
        await check_in(client, "alice"),
        await exchange(client, "alice", item, "new"),
        await ask(client, "extendPoints", "alice", "member", **extension),
    ]
    assert [each["code"] for each in suspended] == ["MEMBER_SUSPENDED"] * 4
    cancel = {"exchangeId": encode_id("Exchange", coupon)}
    assert (await ask(client, "cancelExchange", "alice", "member", **cancel))["code"] == "NOT_FOUND"
    for query, asked in (
        (WISH, {"itemId": encode_id("ExchangeItem", item), "wished": True}),
        (WISH, {"itemId": encode_id("ExchangeItem", item), "wished": False}),
        (UPDATE, {"interests": ["needlework"]}),
        (UPDATE, {}),
    ):
        assert await client.error_code(query, {"input": asked}, as_="alice") == "UNAUTHENTICATED"
    assert await fingerprint_of_database(mall) == before


async def while_erasing(mall: Mall, acts: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Let each run into an erasing of Alice that is not committed yet; what came of them then."""
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone="Asia/Shanghai")
        waiting = [asyncio.ensure_future(act()) for act in acts]
        async with asyncio.timeout(10):
            while (await execute(mall, _WAITING))[0][0] < len(acts):  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.01)
    return await asyncio.gather(*waiting)


async def test_what_waits_for_an_erasing_changes_nothing_after_it(
    mall: Mall, client: Client, alice: int
) -> None:
    """A wish, a profile and another system's event that begin before it is committed."""
    item = await add_item(mall)
    wish = {"input": {"itemId": encode_id("ExchangeItem", item), "wished": True}}
    profile = {"input": {"avatarUrl": "https://cdn.test/alice.png"}}
    answers = await while_erasing(
        mall,
        [
            partial(client.error_code, WISH, wish, as_="alice"),
            partial(client.error_code, UPDATE, profile, as_="alice"),
            partial(record, client, event(alice, "e", mall.clock(), attributes={"a": "person"})),
        ],
    )
    assert answers[:2] == ["UNAUTHENTICATED"] * 2
    assert answers[2]["recorded"] == 0
    left = "SELECT avatar_url, (SELECT count(*) FROM wishes), (SELECT count(*) FROM events)"
    assert await execute(mall, f"{left} FROM users WHERE id = :i", i=alice) == [(None, 0, 0)]


async def test_an_import_that_waits_for_an_erasing_knows_of_it(mall: Mall) -> None:
    """Rejected rather than counted as known, and nobody is created."""
    await moving_in(mall, "alice,100")
    [settled] = await while_erasing(mall, [partial(moving_in, mall, "alice,100", "bob,5")])
    assert (settled.imported, settled.duplicates) == (1, 0)
    assert [(line.text, reason) for line, reason in settled.rejected] == [("alice,100", REASON)]
    assert await execute(mall, "SELECT points FROM users ORDER BY id") == [(100,), (5,)]
