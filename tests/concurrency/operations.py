"""What the tests of concurrency ask servers for, and how many at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from sqlalchemy import insert

from models.users import User
from schema.ids import encode_id
from services.bulk import Writes
from services.identifiers import new_id
from services.mall import Mall
from services.points.account import Cause
from services.points.accounts import lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.ledger import grant
from services.transaction import transaction
from tests.client import Client

AnswerT = TypeVar("AnswerT")
Answer = dict[str, Any]

EXCHANGE = """
mutation ($item: ID!, $key: String!) {
  oneClickExchange(input: {itemId: $item, idempotencyKey: $key}) {
    __typename
    ... on OneClickExchangeSuccess {
      replayed pointsUsed remainingPoints
      exchange {
        id points status createdAt updatedAt item { id name }
        reward { __typename ... on ManualDelivery { note } ... on Coupon { code } }
        paidFrom { pointsRecordId points expiresAt }
      }
    }
    ... on Problem { code message }
  }
}
"""
CHECK_IN = """
mutation {
  checkIn(input: {}) {
    __typename ... on CheckInSuccess { streak pointsEarned balance { available } }
    ... on Problem { code }
  }
}
"""
COMPLETE = """
mutation ($task: ID!) {
  completeTask(input: {taskId: $task}) {
    __typename ... on CompleteTaskSuccess { pointsEarned balance { available } }
    ... on Problem { code }
  }
}
"""
RECORD = """
mutation ($events: [EventInput!]!) {
  recordEvents(input: {events: $events}) {
    ... on RecordEventsSuccess {
      recorded duplicates tasksCompleted pointsEarned rejected { eventId message }
    }
    ... on Problem { code message }
  }
}
"""
_PROBLEM = "... on Problem { code message }"
CANCEL = f"""
mutation ($id: ID!) {{
  cancelExchange(input: {{exchangeId: $id}}) {{
    __typename ... on CancelExchangeSuccess {{ refundedPoints expiredPoints }} {_PROBLEM}
    ... on InvalidState {{ state }}
  }}
}}
"""
GRANT = f"""
mutation ($input: GrantPointsInput!) {{
  grantPoints(input: $input) {{
    __typename ... on GrantPointsSuccess {{ replayed pointsRecord {{ id }} }} {_PROBLEM}
  }}
}}
"""
REVERSE = f"""
mutation ($input: ReverseGrantInput!) {{
  reverseGrant(input: $input) {{
    __typename ... on ReverseGrantSuccess {{ reversedPoints owedPoints replayed }} {_PROBLEM}
  }}
}}
"""
EXTEND = f"""
mutation ($id: ID!, $key: String!) {{
  extendPoints(input: {{pointsRecordId: $id, idempotencyKey: $key}}) {{
    __typename ... on ExtendPointsSuccess {{ fee replayed }} {_PROBLEM}
  }}
}}
"""
ADJUST = f"""
mutation ($input: AdjustPointsInput!) {{
  adjustPoints(input: $input) {{
    __typename ... on AdjustPointsSuccess {{ change {{ id amount }} replayed }} {_PROBLEM}
  }}
}}
"""
RUN_EXPIRY = "mutation { runExpiry { expiredRecords expiredPoints } }"


class Members:
    """Members who ask through any of several server processes, each time another one."""

    def __init__(self, clients: tuple[Client, ...]) -> None:
        self.clients = clients
        self._tokens: dict[tuple[str, ...], str] = {}

    async def ask(
        self, who: str, query: str, *roles: str, through: int | None = None, **variables: Any
    ) -> Answer:
        """The whole answer, errors and all; through a process by chance unless one is named."""
        chance = random.randrange(len(self.clients))
        client = self.clients[chance if through is None else through % len(self.clients)]
        token = self._tokens.setdefault((who, *roles), client.token(who, *roles))
        return await client.post(query, variables, token)

    async def exchange(self, who: str, item_id: int, key: str, **options: Any) -> Answer:
        """What one click on an item is answered; never an error."""
        item = encode_id("ExchangeItem", item_id)
        return only_field(await self.ask(who, EXCHANGE, item=item, key=key, **options))


def only_field(answer: Answer) -> Answer:
    """The one field of an answer that must not hold errors."""
    assert "errors" not in answer, answer
    (value,) = answer["data"].values()
    return value


def outcomes(answers: Iterable[Answer]) -> Counter[str]:
    """How many answers there are of each type or, for refusals, of each code."""
    return Counter(answer.get("code", answer["__typename"]) for answer in answers)


async def all_at_once(calls: Iterable[Awaitable[AnswerT]]) -> list[AnswerT]:
    """Everybody's answers, in order."""
    return list(await asyncio.gather(*calls))


async def some_at_once(calls: Iterable[Awaitable[AnswerT]], limit: int) -> list[AnswerT]:
    """The same with at most `limit` under way."""
    turn = asyncio.Semaphore(limit)

    async def in_turn(call: Awaitable[AnswerT]) -> AnswerT:
        async with turn:
            return await call

    return await all_at_once(in_turn(call) for call in calls)


async def add_members(mall: Mall, names: Iterable[str], points: int = 0) -> list[int]:
    """Members of those names, each with one lot of `points`; returns their ids."""
    rows = [
        {
            "external_id": name,
            "username": name,
            "locale": "zh-CN",
            "timezone": "Asia/Shanghai",
            "created_at": mall.clock(),
            "last_login_at": mall.clock(),
        }
        for name in names
    ]
    async with transaction(mall.stores.write) as session:
        statement = insert(User).returning(User.id, sort_by_parameter_order=True)
        user_ids = list((await session.execute(statement, rows)).scalars())
        accounts = await lock_accounts(session, user_ids)
        now = mall.clock()
        ends = expiry_of("test", now, mall.zone)
        for account in accounts.values() if points else ():
            grant(account, new_id(), points, Cause("test", None, "test"), ends, now)
        writes = Writes()
        save_accounts(writes, accounts.values(), mall.zone)
        await writes.flush(session)
    return user_ids
