"""Load that goes on while something breaks, and remembers what it was told."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2

from schema.ids import decode_id, encode_id
from tests.concurrency.conftest import Town
from tests.concurrency.operations import EXCHANGE, Answer, some_at_once
from tests.factories import execute

_AT_ONCE = 24
_PAUSE_AFTER_FAILURE_S = 0.05
_RETRIES_TIMEOUT_S = 30.0

_SETTLED = """
    SELECT key, exchanges.id FROM idempotency_keys
    JOIN exchanges ON exchanges.id = CAST(answer ->> 'exchange_id' AS uuid)
    WHERE operation = 'exchange' AND item_id = ANY(:item_ids)
"""
_EXCHANGES = "SELECT id FROM exchanges WHERE item_id = ANY(:item_ids)"


@dataclass
class Load:
    """Exchanges of one of `item_ids` by one of `names`, each under a key of its own."""

    town: Town
    names: list[str]
    item_ids: list[int]
    succeeded: dict[str, UUID] = field(default_factory=dict)
    failed: dict[str, tuple[str, int]] = field(default_factory=dict)
    unexpected: list[Answer] = field(default_factory=list)
    lost: int = 0
    unavailable: int = 0
    slowest_refusal_s: float = 0.0
    _stopping: bool = False

    async def try_once(self, key: str, who: str, item_id: int) -> bool:
        """Ask for one exchange; tells whether it was answered as made."""
        began_s = time.monotonic()
        item = encode_id("ExchangeItem", item_id)
        try:
            answer = await self.town.members.ask(who, EXCHANGE, item=item, key=key)
        except httpx2.TransportError:
            self.lost += 1
            return False
        made = _exchange_id(answer)
        if made is not None:
            self.succeeded[key] = made
            return True
        self._note_refusal(answer, time.monotonic() - began_s)
        return False

    def _note_refusal(self, answer: Answer, took_s: float) -> None:
        codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
        if codes != {"SERVICE_UNAVAILABLE"}:
            self.unexpected.append(answer)
        self.unavailable += 1
        self.slowest_refusal_s = max(self.slowest_refusal_s, took_s)

    async def _work(self) -> None:
        while not self._stopping:
            key, call = uuid4().hex, (random.choice(self.names), random.choice(self.item_ids))
            if not await self.try_once(key, *call):
                self.failed[key] = call
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep 24 calls under way while the block runs."""
        workers = [asyncio.create_task(self._work()) for _ in range(_AT_ONCE)]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.gather(*workers)

    async def retry_failed(self) -> None:
        """Repeat every call that failed, under its own key, until it succeeds."""
        deadline_s = time.monotonic() + _RETRIES_TIMEOUT_S

        async def retry(key: str, who: str, item_id: int) -> None:
            while not await self.try_once(key, who, item_id):
                assert not self.unexpected, self.unexpected[0]
                assert time.monotonic() < deadline_s, "still not available"
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

        await some_at_once((retry(key, *call) for key, call in self.failed.items()), _AT_ONCE)

    async def assert_kept(self) -> None:
        """Every exchange that was answered as made is there."""
        assert await self._ids(_EXCHANGES) >= {str(made) for made in self.succeeded.values()}

    async def assert_each_key_settled_once(self) -> None:
        """Retry what failed: one exchange per key, the one that was answered, and none besides."""
        assert not self.unexpected, self.unexpected[0]
        await self.assert_kept()
        before = dict(self.succeeded)
        await self.retry_failed()
        assert {key: self.succeeded[key] for key in before} == before
        settled = dict(await self._rows(_SETTLED))
        assert settled == self.succeeded
        assert await self._ids(_EXCHANGES) == {str(made) for made in self.succeeded.values()}

    async def _ids(self, sql: str) -> set[str]:
        return {str(row[0]) for row in await self._rows(sql)}

    async def _rows(self, sql: str) -> list[Any]:
        return await execute(self.town.mall, sql, item_ids=self.item_ids)


def _exchange_id(answer: Answer) -> UUID | None:
    made = (answer.get("data") or {}).get("oneClickExchange") or {}
    exchange = made.get("exchange")
    return exchange and UUID(decode_id(exchange["id"])[1])
