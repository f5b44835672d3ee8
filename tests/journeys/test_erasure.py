"""A member asks to be forgotten: the person goes, the books stay."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from models import Base
from schema.ids import encode_id
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import ExchangesOpen, erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import (
    add_item,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.money import ask
from tests.journeys.steps import check_in, event, exchange, record
from tests.journeys.test_devices import REGISTER, unregister
from tests.journeys.test_operator_actions import trail
from tests.journeys.test_profile import UPDATE
from tests.journeys.test_push_history import mark
from tests.journeys.test_push_preferences import UPDATE as UPDATE_PREFERENCES
from tests.journeys.test_redeem import redeem
from tests.journeys.test_suspension import UNTIL, suspend
from tests.journeys.test_wishes import wish
from tests.pushes import add_device, draft, plan_now

PERSON = {
    "email": "alice@mall.test",
    "phone": "13800000000",
    "avatar_url": "https://cdn.test/alice.png",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "gender": "female",
    "birth_year": 1987,
    "interests": ["needlework"],
}
SHIPPING = {"recipient": "Alice Liddell", "phone": "13911111111", "address": "1 Elm Street"}
TRACES = (
    *("alice", "mall.test", "1380000", "en-gb", "london", "female", "1987", "needlework"),
    *("liddell", "1391111", "elm street", "track-1", "moved away", "white rabbit"),
    *("phone-of-hers", "tea party", "in en-gb", "dormouse"),
)

GONE = "1 wish(es) and the address(es) of 2 shipment(s) are gone"

ERASED = {
    "users": "name, external id, contacts, profile",
    "shipments": "recipient, phone, address, tracking number",
    "exchanges": "reasons of cancellations",
    "events": "attributes",
    "wishes": "all",
    "devices": "all",
    "device_users": "all",
    "push_preferences": "all",
    "push_records": "texts and payloads; what waits is suppressed",
    "shares": "what they showed to others; links that invite are of the books",
    "reasons": "all",
    "user_coupons": "what they were used for; the rest is of the books: a code is issued once",
    "rank_history": "all",
    "satisfaction_answers": "comments; the score is for the figures",
    "experiment_events": "the ids, which apps choose; what was measured is for the figures",
    "idempotency_keys": "those of exchanges; what others hold no text of a member's but the key",
}
KEPT = {
    "points_records": "the books",
    "points_grants": "the books",
    "points_reversals": "the books",
    "points_audit_log": "the books",
    "lot_draws": "the books",
    "coupon_codes": "the books",
    "user_vip": "the books",
    "user_tasks": "the books",
    "check_ins": "the books",
    "daily_earnings": "the books, by day; who was erased is on no board",
    "period_earnings": "the books, by week and month; who was erased is on no board",
    "user_achievements": "the books",
    "member_days": "days on which somebody was there, for the figures: names nobody",
    "invites": "the books",
    "ab_tests": "which variant they saw: names nobody",
    "share_visits": "salted hashes of visitors, for two days: name nobody",
    "operator_actions": "what operators did, for ever",
    "push_deliveries": "what providers answered about devices that are gone: names nobody",
    "alerts": "what was noticed, and who took note: members by number only",
    "campaigns": "operators' words, and whom they chose: by number or by what many share",
}
NOT_ABOUT_USERS = {
    "recommendation_runs",
    "item_neighbours",
    "interest_items",
    "popular_items",
    "exchange_items",
    "item_daily_exchanges",
    "tasks",
    "achievements",
    "experiments",
    "outbox",
    "erased_subjects",
    "erasure_salt",
    "file_imports",
    "ledger_checks",
    "measured_figures",
    "period_earnings_kept",
    "rank_snapshots",
    "daily_figures",
    "cohort_months",
    "daily_liabilities",
    "request_counts",
    "reminder_days",
    "scheduled_jobs",
}


async def finish(mall: Mall, status: str = "completed") -> None:
    """Let every exchange that is pending come to that."""
    await execute(mall, "UPDATE exchanges SET status = :s WHERE status = 'pending'", s=status)


@pytest.fixture
async def alice(mall: Mall, client: Client) -> int:
    """Alice, with something of everything that a member leaves behind."""
    user_id = await add_user(mall, "alice", **PERSON)
    await give_points(mall, user_id, 1000)
    parcel = await add_item(mall, type="physical")
    coupon = await add_item(mall, type="coupon", config={"generate": True})
    vip = await add_item(mall, type="vip", config={"level": 1, "days": 30})
    for number, item in enumerate((parcel, coupon, vip)):
        await exchange(client, "alice", item, f"key {number}", shipping=SHIPPING)
    await finish(mall)
    await execute(mall, "UPDATE shipments SET tracking_number = 'track-1'")
    given_up = await exchange(client, "alice", parcel, "key 3", shipping=SHIPPING)
    asked = {"exchangeId": given_up["exchange"]["id"], "reason": "moved away"}
    await ask(client, "cancelExchange", "alice", "member", **asked)
    await wish(client, "alice", parcel)
    await check_in(client, "alice")
    await add_device(mall, user_id, "phone-of-hers")
    await plan_now(mall, draft(user_id, "invited", guest="Dormouse"))
    await execute(mall, "UPDATE push_records SET title = 'Tea party'")
    seen = event(user_id, "e", mall.clock(), attributes={"seen": "White Rabbit"})
    await record(client, seen)
    return user_id


async def everything(mall: Mall) -> str:
    """All rows of all tables, as text."""
    rows = [await execute(mall, f"SELECT t::text FROM {name} t") for name in Base.metadata.tables]
    return "\n".join(row for table in rows for (row,) in table).lower()


async def erase(mall: Mall, *options: str, typed: str = "") -> tuple[int, str]:
    """Exit code and words of the command."""
    done = await run_command(mall.settings, "users", "erase", "alice", *options, typed=typed)
    return done.returncode, done.stderr


async def test_the_person_goes_and_the_books_stay(mall: Mall, client: Client, alice: int) -> None:
    """No trace in any table; the balance, coupons and the ledger as they were."""
    before = await everything(mall)
    assert [trace for trace in TRACES if trace not in before] == []
    kept = (
        "SELECT points, lifetime_earned, lifetime_redeemed, audit_sequence FROM users ORDER BY id"
    )
    codes = "SELECT code, status FROM user_coupons"
    books = await execute(mall, kept), await execute(mall, codes)
    code, said = await erase(mall, "--yes")
    assert (code, said) == (0, f"Erased: user {alice} is nobody now: {GONE}.\n")
    after = await everything(mall)
    assert [trace for trace in TRACES if trace in after] == []
    pushes = await execute(mall, "SELECT user_id, status, reason FROM push_records")
    assert pushes == [(alice, "suppressed", "no_device")]
    assert (await execute(mall, kept), await execute(mall, codes)) == books
    verified = await run_command(mall.settings, "ledger", "verify")
    assert (verified.returncode, verified.stdout) == (0, "The books are right.\n")
    noted = await execute(
        mall, "SELECT operator_id, action, kind, key, details FROM operator_actions"
    )
    assert noted == [(None, "erase_user", "User", str(alice), {"wishes": 1, "shipments": 2})]
    [(name, when)] = await execute(
        mall, "SELECT username, erased_at IS NOT NULL FROM users WHERE id = :i", i=alice
    )
    assert (name, when) == (f"erased-{alice}", True)


async def test_what_others_said_of_them_goes(mall: Mall, client: Client, alice: int) -> None:
    """Orders that shops named, and reasons that operators gave; that there were any stays."""
    who = {"userId": encode_id("User", alice)}
    [(code,)] = await execute(mall, "SELECT code FROM user_coupons")
    assert (await redeem(client, code, "order of the hatter"))["coupon"]["status"] == "USED"
    await suspend(client, until=UNTIL, reason="shouted at the queen", **who)
    amends = {"points": 5, "reason": "the cook threw pepper", "idempotencyKey": "amends"}
    adjusted = await ask(client, "adjustPoints", "olga", "operator", **who, **amends)
    assert adjusted["__typename"] == "AdjustPointsSuccess"
    traces = ("order of the hatter", "shouted at the queen", "the cook threw pepper")
    before = await everything(mall)
    assert [trace for trace in traces if trace not in before] == []
    shown = [(node["action"], node["details"]["reason"]) for node in await trail(client)]
    assert shown == [("adjust_points", traces[2]), ("suspend_user", traces[1])]
    assert (await erase(mall, "--yes"))[0] == 0
    after = await everything(mall)
    assert [trace for trace in traces if trace in after] == []
    _, *shown = [node["details"] for node in await trail(client)]
    assert shown == [
        {"points": 5, "before": {"points": 705}, "after": {"points": 710}, "reason": None},
        {"from": None, "to": UNTIL.replace("Z", "+00:00"), "reason": None},
    ]
    assert (await redeem(client, code, "order of the hatter"))["state"] == "USED"
    assert await execute(mall, "SELECT 1 FROM idempotency_keys WHERE user_id = :i", i=alice) == []


async def test_who_erased_is_noted(mall: Mall, alice: int) -> None:
    """If it is said, and only somebody whom the mall knows."""
    before = await fingerprint_of_database(mall)
    assert await erase(mall, "--yes", "--as", "olga") == (
        1,
        "Nothing was erased: there is nobody called 'olga'.\n",
    )
    assert await fingerprint_of_database(mall) == before
    olga = await add_user(mall, "olga")
    assert (await erase(mall, "--yes", "--as", "olga"))[0] == 0
    noted = await execute(mall, "SELECT operator_id, action, key FROM operator_actions")
    assert noted == [(olga, "erase_user", str(alice))]


async def test_the_same_token_makes_somebody_new(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """With nothing, once the process has forgotten who it was; erased again, nobody is left."""
    assert (await erase(mall, "--yes"))[0] == 0
    clock.advance(minutes=5)
    query = (
        "{ me { id interests balance { available lifetimeEarned } } exchanges { nodes { id } } }"
    )
    fresh = await client.data(query, as_="alice")
    assert fresh["me"].pop("id") != encode_id("User", alice)
    nothing = {"interests": [], "balance": {"available": 0, "lifetimeEarned": 0}}
    assert fresh == {"me": nothing, "exchanges": {"nodes": []}}
    assert await points_of(mall, alice) > 0
    assert (await erase(mall, "--yes"))[0] == 0
    names = await execute(mall, "SELECT count(*) FROM users WHERE username ~ '^erased-[0-9]+$'")
    assert names == [(2,)]


async def test_a_process_that_remembers_does_nothing_in_their_name(
    mall: Mall, client: Client, alice: int
) -> None:
    """Neither earning nor spending nor a new profile or device; an operator cannot lift that."""
    assert (await erase(mall, "--yes"))[0] == 0
    item = await add_item(mall, type="physical")
    before = await fingerprint_of_database(mall)
    assert (await check_in(client, "alice"))["code"] == "MEMBER_SUSPENDED"
    refused = await exchange(client, "alice", item, "new", shipping=SHIPPING)
    assert refused["code"] == "MEMBER_SUSPENDED"
    for query, asked in (
        (UPDATE, {"avatarUrl": "https://cdn.test/alice.png"}),
        (REGISTER, {"platform": "IOS", "token": "another"}),
        (UPDATE_PREFERENCES, {"enabled": False}),
    ):
        assert await client.error_code(query, {"input": asked}, as_="alice") == "UNAUTHENTICATED"
    assert not await unregister(client, "alice", "phone-of-hers")
    ((push,),) = await execute(mall, "SELECT id FROM push_records")
    opened = await mark(client, encode_id("PushRecord", push))
    assert opened["push"]["openedAt"] is None
    assert await fingerprint_of_database(mall) == before
    for until in (None, UNTIL):
        assert (await suspend(client, userId=encode_id("User", alice), until=until))["code"] == (
            "NOT_FOUND"
        )


@pytest.mark.parametrize("status", ["pending", "shipped"])
async def test_while_something_is_on_its_way_nothing_is_erased(
    mall: Mall, client: Client, alice: int, status: str
) -> None:
    """The parcel needs its address; afterwards it can be done."""
    await exchange(client, "alice", 1, "one more", shipping=SHIPPING)
    await finish(mall, status)
    before = await fingerprint_of_database(mall)
    assert await erase(mall, "--yes") == (
        1,
        "Nothing was erased: 1 exchange(s) are on their way. Complete or cancel them first.\n",
    )
    assert await fingerprint_of_database(mall) == before
    await execute(mall, "UPDATE exchanges SET status = 'completed' WHERE status = :s", s=status)
    assert (await erase(mall, "--yes"))[0] == 0


async def test_erasing_and_exchanging_at_once(mall: Mall, client: Client) -> None:
    """Whichever comes first: no parcel ever loses its address."""
    item = await add_item(mall, type="physical", stock=100)
    names = [f"member-{number}" for number in range(8)]
    for name in names:
        await give_points(mall, await add_user(mall, name), 100)
        await client.user_id(name)

    async def forget(name: str) -> bool:
        try:
            async with transaction(mall.stores.write) as session:
                erased = await erase_user(session, name, mall.clock(), timezone="Asia/Shanghai")
        except ExchangesOpen:
            return False
        return erased is not None

    async def take(name: str) -> bool:
        answer = await exchange(client, name, item, shipping=SHIPPING)
        return answer["__typename"] == "OneClickExchangeSuccess"

    taken, forgotten = await asyncio.gather(
        asyncio.gather(*map(take, names)), asyncio.gather(*map(forget, names))
    )
    assert [not each for each in taken] == forgotten
    addresses = await execute(mall, "SELECT address FROM shipments")
    assert addresses == [(SHIPPING["address"],)] * sum(taken)


async def test_erasing_again_or_nobody_changes_nothing(mall: Mall, alice: int) -> None:
    """Done is done: exit 0, and it is said that nobody was found."""
    await erase(mall, "--yes")
    before = await fingerprint_of_database(mall)
    assert await erase(mall, "--yes") == (0, "There is nobody called 'alice': nothing to erase.\n")
    assert await fingerprint_of_database(mall) == before


async def test_the_question_has_to_be_answered(mall: Mall) -> None:
    """No, or nothing at all, erases nothing; yes does."""
    await add_user(mall, "alice")
    before = await fingerprint_of_database(mall)
    for typed in ("n\n", "", "alice\n"):
        code, said = await erase(mall, typed=typed)
        assert code == 1
        assert said.startswith("Erase the personal data of 'alice' for ever?")
    assert await fingerprint_of_database(mall) == before
    assert (await erase(mall, typed="y\n"))[0] == 0


async def test_a_store_that_is_away_is_told_apart(mall: Mall) -> None:
    """Exit 3, as by the other commands; 2 for settings that are no good."""
    away = replace(
        mall.settings,
        stores=mall.settings.stores.model_copy(
            update={"database_url": "postgresql://nobody@127.0.0.1:1/nothing"}
        ),
    )
    assert (await run_command(away, "users", "erase", "alice", "--yes")).returncode == 3
    wrong: Any = replace(
        mall.settings,
        stores=mall.settings.stores.model_copy(update={"database_url": "nonsense"}),
    )
    assert (await run_command(wrong, "users", "erase", "alice", "--yes")).returncode == 2


def test_every_table_is_decided() -> None:
    """Whoever adds a table says here whether erasing a member reaches it."""
    assert {*ERASED, *KEPT, *NOT_ABOUT_USERS} == set(Base.metadata.tables)
