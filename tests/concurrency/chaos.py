"""Load that goes on while something breaks, and remembers what it was told."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2

from tests.concurrency.chaos_calls import KINDS, Call, Calls
from tests.concurrency.conftest import Town
from tests.concurrency.operations import Answer, some_at_once
from tests.factories import execute

_AT_ONCE = 24
_PAUSE_AFTER_REFUSAL_S = 0.05
# A process that is gone refuses connections at once: without a pause nearly all calls would fail,
# and leave nothing of the processor to the one that starts.
_PAUSE_AFTER_LOSS_S = 0.4
_RETRIES_TIMEOUT_S = 30.0

KeyOf = tuple[str, str]
"""(mutation, key): what was asked for once, however often it is repeated."""


@dataclass
class Load:
    """Calls of every kind, and what came of them."""

    town: Town
    calls: Calls
    succeeded: dict[KeyOf, str] = field(default_factory=dict[KeyOf, str])
    failed: dict[KeyOf, Call] = field(default_factory=dict[KeyOf, Call])
    unexpected: list[Answer] = field(default_factory=list[Answer])
    lost: int = 0
    unavailable: int = 0
    slowest_refusal_s: float = 0.0
    _stopping: bool = False

    @property
    def member(self) -> str:
        """Somebody of these."""
        return next(iter(self.calls.spenders))

    async def try_once(self, call: Call) -> bool:
        """Ask once; tells whether it was answered as done."""
        began_s, kind = time.monotonic(), KINDS[call.field]
        try:
            answer = await self.town.members.ask(call.who, kind.query, kind.role, **call.variables)
        except httpx2.TransportError:
            self.lost += 1
            await asyncio.sleep(_PAUSE_AFTER_LOSS_S)
            return False
        done = (answer.get("data") or {}).get(call.field) or {}
        fact = kind.fact(done)
        if fact is None:
            self._note_refusal(answer, time.monotonic() - began_s)
            await asyncio.sleep(_PAUSE_AFTER_REFUSAL_S)
            return False
        self.succeeded[call.field, call.key] = fact
        self.calls.learn(call, done)
        return True

    def _note_refusal(self, answer: Answer, took_s: float) -> None:
        codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
        if codes != {"SERVICE_UNAVAILABLE"}:
            self.unexpected.append(answer)
        self.unavailable += 1
        self.slowest_refusal_s = max(self.slowest_refusal_s, took_s)

    async def _work(self) -> None:
        while not self._stopping:
            call = self.calls.draw()
            if not await self.try_once(call):
                self.failed[call.field, call.key] = call

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

        async def retry(call: Call) -> None:
            while not await self.try_once(call):
                assert not self.unexpected, self.unexpected[0]
                assert time.monotonic() < deadline_s, "still not available"

        await some_at_once((retry(call) for call in self.failed.values()), _AT_ONCE)

    async def assert_each_key_settled_once(self) -> None:
        """What was answered is in the books; when all is repeated: once, and nothing besides."""
        assert not self.unexpected, self.unexpected[0]
        before = dict(self.succeeded)
        assert set(before.items()) <= set(await self._books())
        await self.retry_failed()
        assert {key: self.succeeded[key] for key in before} == before
        assert sorted(await self._books()) == sorted(self.succeeded.items())
        assert {mutation for mutation, _ in self.succeeded} == set(KINDS)

    async def _books(self) -> list[tuple[KeyOf, str]]:
        """Everything that was done to these members, by kind and key, each time it was done."""
        return [
            ((mutation, str(key)), str(fact))
            for mutation, kind in KINDS.items()
            for key, fact in await execute(self.town.mall, kind.books, user_ids=self.calls.user_ids)
        ]
