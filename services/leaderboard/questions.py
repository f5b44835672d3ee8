"""Questions to boards in Redis, asked together by all who ask at once.

A round trip costs this process more than Redis, so while one is under way the next questions
gather, and who asks the same shares the answer. Nobody gets an answer that is older than the
question: what has been sent already is not joined.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeAlias

from redis.asyncio import Redis

from services.ending import end
from services.monitoring.log_context import detached

MOST_AT_ONCE = 100
"""Questions of one round trip: more would keep those that come meanwhile waiting."""

Question: TypeAlias = tuple[str, tuple[str, ...], tuple[Any, ...]]
"""A script, its keys, its arguments."""


class Questions:
    """The questions of a process; one round trip is under way at a time."""

    def __init__(self, redis: Redis) -> None:
        """Asks nothing yet."""
        self._redis = redis
        self._waiting: dict[Question, asyncio.Future[Any]] = {}
        self._runner: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Any:
        """What the script answers. Raises what Redis raises when it is away."""
        answer = self._waiting.get(question)
        if answer is None:
            answer = self._waiting[question] = asyncio.get_running_loop().create_future()
        if self._runner is None:
            self._runner = detached(self._run())
        return await asyncio.shield(answer)

    async def aclose(self) -> None:
        """Ask no more."""
        if self._runner is not None:
            await end(self._runner)

    async def _run(self) -> None:
        try:
            while self._waiting:
                sent = dict(islice(self._waiting.items(), MOST_AT_ONCE))
                for question in sent:
                    del self._waiting[question]
                await self._send(sent)
        finally:
            self._runner = None

    async def _send(self, sent: Mapping[Question, asyncio.Future[Any]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for script, keys, arguments in sent:
            pipeline.eval(script, len(keys), *keys, *arguments)
        try:
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001 — it belongs to those who asked, not to the loop
            answers = [error] * len(sent)
        for answer, told in zip(answers, sent.values(), strict=True):
            if isinstance(answer, Exception):
                told.set_exception(answer)
                told.exception()  # whoever asked may have gone
            else:
                told.set_result(answer)
