"""Ways to spoil the books behind the mall's back: one or more for every check of `ledger verify`.

Each is planted with triggers and foreign keys asleep; where a CHECK constraint of the table would
refuse it, the constraint goes first. `place` is the row that must be named, with the names of what
`arrange_books` made.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text

from models.exchange import ExchangeStatus
from services.errors import Refusal
from services.exchange.decide import Placed
from services.exchange.place import exchange_request
from services.exchange.states import exchange_step
from services.identifiers import new_id
from services.mall import Mall
from services.points.adjust import adjustment_request
from services.points.expire import expire_batch
from services.points.extend import extension_request
from services.points.grant import grant_request
from services.points.reverse import reversal_request
from services.tasks.check_in import CheckInRequest
from services.tasks.complete import CompletionRequest
from services.tasks.events import record_events
from services.tasks.incoming_events import IncomingEvent
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import add_item, add_task, add_user, execute, give_points
from tests.sharing import add_invite, reward


@dataclass(frozen=True)
class Corruption:
    """What is done to the database, and which check must name which row for it.

    `alone`: no other check finds it, so without that one it would stay unseen.
    """

    rule: str
    place: str
    sql: str
    without: tuple[str, ...] = ()
    alone: bool = False


_PHANTOM = "00000000-0000-7000-8000-000000000001"
_ADD_PHANTOM = (
    "INSERT INTO points_records (id, user_id, points, original_points, source, status, expires_at,"
    f" created_at) VALUES ('{_PHANTOM}', :dave, 999, 999, 'phantom', 'expired', now(), now())"
)
CORRUPTIONS = (
    Corruption(
        "balance is not the sum of the active lots",
        "user {alice}",
        "UPDATE points_records SET points = points - 1, original_points = original_points"
        " - 1 WHERE id = :spare_lot",
    ),
    Corruption(
        "balance is not the sum of the active lots",
        "user {carol}",
        "DELETE FROM points_records WHERE id = :carols_lot",
    ),
    Corruption(
        "balance is not what the last audit row says",
        "user {alice}",
        "UPDATE users SET points = points + 1, lifetime_earned = lifetime_earned + 1 "
        "WHERE id = :alice",
    ),
    Corruption(
        "audit rows are missing, or one too many",
        "user {bob}",
        "DELETE FROM points_audit_log WHERE user_id = :bob AND sequence = 1",
    ),
    Corruption(
        "audit rows are missing, or one too many",
        "user {carol}",
        "INSERT INTO points_audit_log SELECT user_id, sequence + 1, 'adjust', 0, "
        "points_after, points_after, source, reference, details, created_at, created_by "
        "FROM points_audit_log WHERE user_id = :carol",
    ),
    Corruption(
        "an audit row does not begin where the one before ended",
        "user {bob} row 2",
        "UPDATE points_audit_log SET points_before = points_before + 1, amount = amount -"
        " 1 WHERE user_id = :bob AND sequence = 2",
    ),
    Corruption(
        "an audit row does not add up",
        "user {bob} row 2",
        "UPDATE points_audit_log SET amount = amount + 3 WHERE user_id = :bob AND sequence = 2",
        without=("points_audit_log.ck_points_audit_log_amount_explains_points",),
    ),
    Corruption(
        "lifetime sums do not explain the balance",
        "user {bob}",
        "UPDATE users SET lifetime_adjusted = 7 WHERE id = :bob",
        without=("users.ck_users_lifetime_explains_points",),
    ),
    Corruption(
        "lifetime sums are not those of the audit log",
        "user {bob}",
        "UPDATE users SET lifetime_earned = lifetime_earned + 5, lifetime_redeemed = "
        "lifetime_redeemed + 5 WHERE id = :bob",
    ),
    Corruption(
        "a lot is below zero or above what was granted",
        "lot {spare_lot} of user {alice}",
        "UPDATE points_records SET points = original_points + 1 WHERE id = :spare_lot",
        without=(
            "points_records.ck_points_records_points_in_range",
            "points_records.ck_points_records_rejected_points_in_range",
            "points_records.ck_points_records_withheld_points_in_range",
        ),
    ),
    Corruption(
        "a lot is below zero or above what was granted",
        "lot {carols_lot} of user {carol}",
        "UPDATE points_records SET points = -150 WHERE id = :carols_lot",
        without=(
            "points_records.ck_points_records_active_has_points",
            "points_records.ck_points_records_points_in_range",
            "points_records.ck_points_records_withheld_points_in_range",
        ),
    ),
    Corruption(
        "a lot's points and draws are not what was granted",
        "lot {used_lot} of user {alice}",
        "UPDATE points_records SET original_points = 1000 WHERE id = :used_lot",
    ),
    Corruption(
        "a lot's status contradicts its points",
        "lot {spare_lot} of user {alice}",
        "UPDATE points_records SET status = 'used' WHERE id = :spare_lot",
        without=("points_records.ck_points_records_used_is_empty",),
    ),
    Corruption(
        "a user's draw is from another user's lot",
        "user {alice} row {payment}",
        "UPDATE lot_draws SET points_record_id = :bobs_lot WHERE user_id = :alice AND "
        "sequence = :payment AND position = 0",
    ),
    Corruption(
        "what was drawn is not what the audit row took",
        "user {alice} row {payment}",
        "UPDATE lot_draws SET points = points + 1 WHERE user_id = :alice AND sequence = "
        ":payment AND position = 0",
    ),
    Corruption(
        "what was drawn is not what the audit row took",
        "user {bob} row 1",
        "INSERT INTO lot_draws VALUES (:bob, 1, 0, :bobs_lot, 5)",
    ),
    Corruption(
        "an exchange was not paid as booked",
        "exchange {exchange}",
        "UPDATE exchanges SET points = points - 10 WHERE id = :exchange",
    ),
    Corruption(
        "an exchange was not paid as booked",
        "exchange {bobs_exchange}",
        "UPDATE points_audit_log SET reference = 'another' WHERE user_id = :bob AND "
        "action = 'redeem'",
    ),
    Corruption(
        "points were redeemed without an exchange",
        "user {bob} row {bobs_payment}",
        "DELETE FROM exchanges WHERE id = :bobs_exchange",
    ),
    Corruption(
        "stock does not tie to exchanges",
        "item {item}",
        "UPDATE exchange_items SET stock = stock - 1 WHERE id = :item",
    ),
    Corruption(
        "a completed task has no lot of its user",
        "user {alice} task {task}",
        "UPDATE user_tasks SET points_earned = points_earned + 1 WHERE user_id = :alice",
    ),
    Corruption(
        "a completed task has no lot of its user",
        "user {bob} task {task}",
        "UPDATE user_tasks SET points_record_id = :spare_lot WHERE user_id = :bob",
    ),
    Corruption(
        "a lot and the audit row that granted it differ",
        "lot {carols_lot} of user {carol}",
        "UPDATE points_records SET expires_at = NULL WHERE id = :carols_lot",
    ),
    Corruption(
        "a lot and the audit row that granted it differ",
        f"lot {_PHANTOM} of user {{dave}}",
        _ADD_PHANTOM,
    ),
    Corruption("expired lots are not those of the audit log", "user {dave}", _ADD_PHANTOM),
    Corruption(
        "a check-in has no lot of its user",
        "user {dave} day 2026-11-22",
        "UPDATE check_ins SET points = points + 100000 WHERE user_id = :dave",
    ),
    Corruption(
        "an exchange lacks its reward",
        "exchange {exchange}",
        "UPDATE exchanges SET delivery_note = NULL WHERE id = :exchange",
    ),
    Corruption(
        "a membership does not end where its exchanges say",
        "user {dave} level 1",
        "INSERT INTO user_vip VALUES (:dave, 1, now() + interval '9 years')",
    ),
    Corruption(
        "stock is not the number of unused codes",
        "item {pool}",
        "UPDATE coupon_codes SET status = 'expired' WHERE code = 'CODE-1'",
    ),
    Corruption(
        "a coupon is not the code that was issued",
        "code CODE-2",
        "UPDATE coupon_codes SET status = 'issued', exchange_id = :cancelled WHERE code = 'CODE-2'",
    ),
    Corruption(
        "a refund is not what its exchange says",
        "exchange {cancelled}",
        "UPDATE exchanges SET refunded_points = refunded_points - 1,"
        " lapsed_points = lapsed_points + 1 WHERE id = :cancelled",
    ),
    Corruption(
        "a refund is not what its exchange says",
        "exchange {bobs_exchange}",
        "INSERT INTO points_audit_log SELECT user_id, sequence + 1, 'refund', 70, points_after,"
        " points_after + 70, 'exchange', reference, details, created_at, created_by"
        " FROM points_audit_log WHERE user_id = :bob AND sequence = :bobs_payment",
    ),
    Corruption(
        "a refund is not what its exchange says",
        "exchange nothing",
        "INSERT INTO points_audit_log SELECT user_id, sequence + 1, 'refund', 70, points_after,"
        " points_after + 70, 'exchange', 'nothing', details, created_at, created_by"
        " FROM points_audit_log WHERE user_id = :bob AND sequence = :bobs_payment",
    ),
    Corruption(
        "a coupon does not stand where its exchange says",
        "exchange {cancelled}",
        "UPDATE user_coupons SET status = 'active' WHERE exchange_id = :cancelled",
    ),
    Corruption(
        "a grant that can be taken back is not its lot",
        "grant campaign order-1",
        "UPDATE points_grants SET points = points + 1 WHERE reference = 'order-1'",
    ),
    Corruption(
        "what was taken back is neither taken nor owed",
        "user {erin}",
        "UPDATE users SET owed_points = owed_points + 1 WHERE id = :erin",
    ),
    Corruption(
        "a lot's points and draws are not what was granted",
        "lot {withheld_lot} of user {erin}",
        "UPDATE points_records SET withheld_points = withheld_points - 1 WHERE id = :withheld_lot",
    ),
    Corruption(
        "a lot and the audit row that granted it differ",
        "lot {extended_lot} of user {erin}",
        "UPDATE points_records SET expires_at = expires_at - interval '30 days'"
        " WHERE id = :extended_lot",
    ),
    Corruption(
        "daily counts do not tie to exchanges",
        "item {item}",
        "UPDATE item_daily_exchanges SET exchanges = exchanges + 1000 WHERE item_id = :item",
    ),
)


async def arrange_books(mall: Mall, clock: MovableClock) -> dict[str, object]:
    """Three members who earned, let points expire, completed a task and spent; their names."""
    members = ("alice", "bob", "carol", "dave")
    alice, bob, carol, dave = [await add_user(mall, name) for name in members]
    lots = {}
    for name, owner, points in (("used_lot", alice, 60), ("bobs_lot", bob, 300)):
        ends = clock() + timedelta(days=30)
        lots[name] = (await give_points(mall, owner, points, expires_at=ends)).id
    await give_points(mall, alice, 25, expires_at=clock() + timedelta(days=1))
    clock.advance(days=2)
    async with transaction(mall.stores.write) as session:
        assert await expire_batch(session, clock, zone=mall.zone) is not None
    lots["spare_lot"] = (await give_points(mall, alice, 100, expires_at=None)).id
    lots["carols_lot"] = (await give_points(mall, carol, 150)).id
    task = await add_task(mall, points_reward=20)
    item = await add_item(mall, points=70, stock=5)
    await mall.check_ins.submit(CheckInRequest(dave, False, new_id()))
    for user_id in (alice, bob):
        await mall.completions.submit(CompletionRequest(user_id, task, False, new_id()))
    made = {
        user_id: await mall.exchanges.submit(
            exchange_request(user_id, item, "key", None, is_verified=False)
        )
        for user_id in (alice, bob)
    }
    return {
        **lots,
        **await _arrange_returns(mall, clock, dave),
        **await _arrange_invites(mall, task),
        "alice": alice,
        "bob": bob,
        "carol": carol,
        "dave": dave,
        "task": task,
        "item": item,
        "exchange": made[alice].exchange_id,
        "payment": _payment(made[alice]),
        "expired_lot": await _lot_of(mall, alice, "status = 'expired'"),
        "task_lot": await _lot_of(mall, alice, "source = 'task'"),
        "check_in_lot": await _lot_of(mall, dave, "source = 'check_in'"),
        "bobs_exchange": made[bob].exchange_id,
        "bobs_payment": _payment(made[bob]),
    }


async def _lot_of(mall: Mall, user_id: int, which: str) -> UUID:
    sql = f"SELECT id FROM points_records WHERE user_id = :user AND {which}"
    ((lot_id,),) = await execute(mall, sql, user=user_id)
    return lot_id


async def _arrange_returns(mall: Mall, clock: MovableClock, service: int) -> dict[str, object]:
    """A member with what came back: grants reversed, a lot extended, an exchange cancelled."""
    erin = await add_user(mall, "erin")
    await mall.grants.submit(
        grant_request(service, erin, 200, "campaign", "grant", reference="order-1")
    )
    held_until = clock() + timedelta(days=3)
    held = await mall.grants.submit(
        grant_request(
            service, erin, 40, "campaign", "hold", reference="order-2", available_at=held_until
        )
    )
    for key, reference, points in (("back", "order-1", 50), ("withhold", "order-2", 10)):
        await mall.reversals.submit(reversal_request(service, "campaign", reference, points, key))
    ending = await give_points(mall, erin, 60, expires_at=clock() + timedelta(days=9))
    await mall.extensions.submit(extension_request(erin, ending.id, "extend"))
    await mall.adjustments.submit(adjustment_request(service, erin, -5, "a mistake", "adjust"))
    coupon = await add_item(mall, points=70, stock=5, type="coupon", config={"generate": True})
    placed = await mall.exchanges.submit(
        exchange_request(erin, coupon, "key", None, is_verified=False)
    )
    step = exchange_step(placed.exchange_id, erin, ExchangeStatus.CANCELLED, by_operator=False)
    await mall.steps.submit(step)
    pooled = await _arrange_pool(mall)
    frank, franks_lot, franks_exchange = await _arrange_late_fee(mall, clock)
    purchase = IncomingEvent("order-3", erin, "purchase", Decimal(30), clock(), {})
    async with transaction(mall.stores.write) as session:
        await record_events(session, [purchase], clock=clock, zone=mall.zone)
    ((bought,),) = await execute(
        mall, "SELECT points_record_id FROM points_grants WHERE reference = 'order-3'"
    )
    pool = await add_item(mall, stock=2, type="coupon", config={})
    await execute(
        mall,
        "INSERT INTO coupon_codes (item_id, code) VALUES (:item, 'CODE-1'), (:item, 'CODE-2')",
        item=pool,
    )
    return {
        "erin": erin,
        "withheld_lot": held.lot_id,
        "extended_lot": ending.id,
        "bought_lot": bought,
        "cancelled": placed.exchange_id,
        "pool": pool,
        "pooled": pooled,
        "frank": frank,
        "franks_lot": franks_lot,
        "franks_exchange": franks_exchange,
    }


async def _arrange_invites(mall: Mall, task_id: int) -> dict[str, object]:
    """A member who brought two others, one of whom has completed a task."""
    host, guest, other = [await add_user(mall, name) for name in ("host", "guest", "other")]
    made, waiting = await add_invite(mall, host, guest), await add_invite(mall, host, other)
    await mall.completions.submit(CompletionRequest(guest, task_id, False, new_id()))
    assert await reward(mall) == 1
    return {
        "host": host,
        "guest": guest,
        "invite": made.id,
        "open_invite": waiting.id,
        "invite_link": made.share_id,
        "hosts_lot": await _lot_of(mall, host, "source = 'invite'"),
        "guests_lot": await _lot_of(mall, guest, "source = 'invite'"),
    }


async def _arrange_pool(mall: Mall) -> UUID:
    """A member who exchanged the only code of a pool; which exchange it is."""
    gina = await add_user(mall, "gina")
    await give_points(mall, gina, 100)
    item = await add_item(mall, stock=1, type="coupon", config={})
    add_code = "INSERT INTO coupon_codes (item_id, code) VALUES (:item, 'CODE-3')"
    await execute(mall, add_code, item=item)
    placed = await mall.exchanges.submit(
        exchange_request(gina, item, "key", None, is_verified=False)
    )
    return placed.exchange_id


async def _arrange_late_fee(mall: Mall, clock: MovableClock) -> tuple[int, UUID, UUID]:
    """A member who spent most of a lot, extended the rest, and got the most of it back."""
    frank = await add_user(mall, "frank")
    lot = await give_points(mall, frank, 100, expires_at=clock() + timedelta(days=9))
    item = await add_item(mall, points=80, type="coupon", config={"generate": True})
    placed = await mall.exchanges.submit(
        exchange_request(frank, item, "key", None, is_verified=False)
    )
    clock.advance(minutes=1)
    await mall.extensions.submit(extension_request(frank, lot.id, "extend"))
    step = exchange_step(placed.exchange_id, frank, ExchangeStatus.CANCELLED, by_operator=False)
    await mall.steps.submit(step)
    return frank, lot.id, placed.exchange_id


def _payment(placed: Placed | Refusal) -> int:
    assert isinstance(placed, Placed)
    assert placed.exchange is not None
    return placed.exchange.audit_sequence


async def plant(mall: Mall, corruption: Corruption, names: dict[str, object]) -> None:
    """Spoil the books as it says."""
    async with transaction(mall.stores.write) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for constraint in corruption.without:
            table, _, name = constraint.partition(".")
            await session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"))
        wanted = {name: names[name] for name in names if f":{name}" in corruption.sql}
        await session.execute(text(corruption.sql), wanted)
