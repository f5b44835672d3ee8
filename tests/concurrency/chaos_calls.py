"""What is asked for while something breaks: everything that moves points and can be repeated.

Each kind of call says what an answer tells was done, and where the books say so: both as (key,
fact), so that what was answered and what was done can be compared one to one.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from schema.ids import decode_id, encode_id
from services.bulk import Writes
from services.identifiers import new_id
from services.mall import Mall
from services.points.account import Cause
from services.points.accounts import lock_accounts, save_accounts
from services.points.ledger import grant
from services.transaction import transaction
from tests.concurrency.operations import (
    ADJUST,
    CANCEL,
    EXCHANGE,
    EXTEND,
    GRANT,
    REVERSE,
    Answer,
    add_members,
)
from tests.factories import add_item

COUPON_PRICE, GRANTED, REVERSED = 40, 100, 30
_LOTS_A_SAVER = 40


@dataclass(frozen=True)
class Call:
    """One call and the key under which it is repeated; a field of the mutation and its input."""

    field: str
    key: str
    who: str
    variables: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A mutation: what its answer says was done (None: nothing), and what the books say.

    `books` selects the key and the fact of whatever was done to `:user_ids`, once for every time
    it was done.
    """

    query: str
    role: str
    fact: Callable[[Answer], str | None]
    books: str


def _cancelled(answer: Answer) -> str | None:
    """It has no key. One that was cancelled by a call whose answer was lost says so itself."""
    if answer.get("state") == "CANCELLED":
        return str(COUPON_PRICE)
    return _text(answer.get("refundedPoints"))


def _text(fact: object) -> str | None:
    return None if fact is None else str(fact)


def _key_of(answer: Answer, name: str) -> str | None:
    return decode_id(answer[name]["id"])[1] if name in answer else None


KINDS = {
    "oneClickExchange": Kind(
        EXCHANGE,
        "member",
        lambda answer: _key_of(answer, "exchange"),
        """
        SELECT key, exchanges.id::text FROM exchanges
        LEFT JOIN idempotency_keys settled
            ON operation = 'exchange' AND answer ->> 'exchange_id' = exchanges.id::text
        WHERE exchanges.user_id = ANY(:user_ids)
        """,
    ),
    "cancelExchange": Kind(
        CANCEL,
        "member",
        _cancelled,
        """
        SELECT exchange.id::text, log.amount::text FROM exchanges exchange
        LEFT JOIN points_audit_log log
            ON log.action = 'refund' AND log.reference = exchange.id::text
        WHERE exchange.user_id = ANY(:user_ids)
          AND (exchange.status = 'cancelled' OR log.sequence IS NOT NULL)
        """,
    ),
    "grantPoints": Kind(
        GRANT,
        "service",
        lambda answer: _key_of(answer, "pointsRecord"),
        """
        SELECT source_reference, id::text FROM points_records
        WHERE user_id = ANY(:user_ids) AND source = 'chaos'
        """,
    ),
    "reverseGrant": Kind(
        REVERSE,
        "service",
        lambda answer: _text(answer.get("reversedPoints")),
        """
        SELECT reference, log.amount::text FROM (
            SELECT reference, -amount AS amount FROM points_audit_log
            WHERE user_id = ANY(:user_ids) AND action = 'reverse'
        ) log FULL JOIN (
            SELECT reference, reversed_points AS amount FROM points_grants
            WHERE user_id = ANY(:user_ids) AND reversed_points > 0
        ) taken USING (reference, amount)
        """,
    ),
    "adjustPoints": Kind(
        ADJUST,
        "operator",
        lambda answer: _key_of(answer, "change"),
        """
        SELECT reasons.text, log.user_id || '-' || sequence FROM points_audit_log AS log
        JOIN reasons ON reasons.id = CAST(details ->> 'reason_id' AS uuid)
        WHERE log.user_id = ANY(:user_ids) AND action = 'adjust'
        """,
    ),
    "extendPoints": Kind(
        EXTEND,
        "member",
        lambda answer: _text(answer.get("fee")),
        """
        SELECT lot.id::text, (-log.amount)::text FROM points_records lot
        LEFT JOIN points_audit_log log ON log.action = 'extend' AND log.reference = lot.id::text
        WHERE lot.user_id = ANY(:user_ids)
          AND (lot.extended_at IS NOT NULL OR log.sequence IS NOT NULL)
        """,
    ),
}
_TURNS = (
    *("oneClickExchange", "grantPoints", "oneClickExchange", "cancelExchange"),
    *("oneClickExchange", "adjustPoints", "reverseGrant", "extendPoints"),
)


@dataclass
class Calls:
    """Members who spend, members who save, and what is left to be asked for."""

    spenders: dict[str, int]
    savers: dict[str, int]
    item_ids: Sequence[int]
    coupon_id: int
    unextended: list[tuple[str, UUID]]
    uncancelled: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unreversed: list[str] = field(default_factory=list[str])
    turns: Any = field(default_factory=lambda: itertools.cycle(_TURNS))

    @property
    def user_ids(self) -> list[int]:
        """Everybody whom the calls are about."""
        return [*self.spenders.values(), *self.savers.values()]

    def draw(self) -> Call:
        """The next one; all kinds take turns, an exchange stands in for one that cannot be made."""
        make = {
            "grantPoints": self._grant,
            "cancelExchange": self._cancel if self.uncancelled else self._exchange,
            "reverseGrant": self._reverse if self.unreversed else self._exchange,
            "adjustPoints": self._adjust,
            "extendPoints": self._extend if self.unextended else self._exchange,
        }
        return make.get(next(self.turns), self._exchange)()

    def learn(self, call: Call, answer: Answer) -> None:
        """What was made can be taken back."""
        if call.field == "grantPoints":
            self.unreversed.append(call.key)
        elif call.variables.get("item") == encode_id("ExchangeItem", self.coupon_id):
            self.uncancelled.append((call.who, answer["exchange"]["id"]))

    def _exchange(self) -> Call:
        item = encode_id("ExchangeItem", random.choice((*self.item_ids, self.coupon_id)))
        key, who = uuid4().hex, random.choice(list(self.spenders))
        return Call("oneClickExchange", key, who, {"item": item, "key": key})

    def _cancel(self) -> Call:
        who, exchange = self.uncancelled.pop()
        return Call("cancelExchange", decode_id(exchange)[1], who, {"id": exchange})

    def _grant(self) -> Call:
        key, user_id = uuid4().hex, random.choice(list(self.savers.values()))
        asked = {"userId": encode_id("User", user_id), "points": GRANTED}
        return _keyed("grantPoints", key, "shop", asked | {"source": "chaos", "reference": key})

    def _reverse(self) -> Call:
        key = self.unreversed.pop()
        asked = {"source": "chaos", "reference": key, "points": REVERSED}
        return _keyed("reverseGrant", key, "shop", asked)

    def _adjust(self) -> Call:
        key, user_id = uuid4().hex, random.choice(list(self.spenders.values()))
        asked = {"userId": encode_id("User", user_id), "points": random.choice((-7, 7))}
        return _keyed("adjustPoints", key, "boss", asked | {"reason": key})

    def _extend(self) -> Call:
        who, lot_id = self.unextended.pop()
        key = str(lot_id)
        variables = {"id": encode_id("PointsRecord", lot_id), "key": key}
        return Call("extendPoints", key, who, variables)


def _keyed(field_: str, key: str, who: str, asked: dict[str, Any]) -> Call:
    return Call(field_, key, who, {"input": asked | {"idempotencyKey": key}})


async def arranged_calls(mall: Mall) -> Calls:
    """Twelve rich members, one popular item, two others and a coupon; savers with lots that end."""
    prefix = uuid4().hex
    spenders = [f"{prefix}-spender-{number}" for number in range(12)]
    savers = [f"{prefix}-saver-{number}" for number in range(6)]
    spender_ids = await add_members(mall, spenders, 1_000_000)
    saver_ids = await add_members(mall, savers)
    items = [await add_item(mall, points=points, stock=1_000_000) for points in (10, 20, 30)]
    coupon = {"type": "coupon", "config": {"generate": True}, "points": COUPON_PRICE}
    return Calls(
        spenders=dict(zip(spenders, spender_ids, strict=True)),
        savers=dict(zip(savers, saver_ids, strict=True)),
        item_ids=(items[0], *items),
        coupon_id=await add_item(mall, stock=1_000_000, **coupon),
        unextended=await _give_lots_that_end(mall, dict(zip(saver_ids, savers, strict=True))),
    )


async def _give_lots_that_end(mall: Mall, savers: dict[int, str]) -> list[tuple[str, UUID]]:
    """Lots that can be extended; nothing else is ever drawn from them."""
    now, lots = mall.clock(), list[tuple[str, UUID]]()
    async with transaction(mall.stores.write) as session:
        accounts = await lock_accounts(session, savers)
        for user_id, account in accounts.items():
            for _ in range(_LOTS_A_SAVER):
                lot_id, cause = new_id(), Cause("test", None, "test")
                grant(account, lot_id, 100, cause, now + timedelta(days=10), now)
                lots.append((savers[user_id], lot_id))
        writes = Writes()
        save_accounts(writes, accounts.values(), mall.zone)
        await writes.flush(session)
    return lots
