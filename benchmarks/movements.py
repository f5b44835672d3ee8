"""A mall at work at a steady rate: members exchange, and complete tasks, in turn."""

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle
from random import Random

import orjson

from benchmarks.exchanges import exchange_requests
from benchmarks.load import post
from benchmarks.servers import Bench
from schema.ids import encode_id

_CONNECTIONS = 16
_ITEMS, _TASKS = 1_000, 12
_SEED = 7
_COMPLETE = """
mutation ($task: ID!) {
  completeTask(input: {taskId: $task}) { __typename ... on Problem { code } }
}
"""


async def move(running: Bench, per_second: int, duration_s: int) -> int:
    """Exchange and complete tasks, in turn, at that rate; how many were done in time."""
    requests = _requests(running)
    started_at_s, total = time.perf_counter(), per_second * duration_s
    places = iter(range(total))
    done = 0

    async def work(port: int) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for place in places:  # shared: whoever is free takes the next
            due_s = started_at_s + place / per_second
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            answer = await ask(reader, writer, next(requests))
            if b"Success" not in answer:
                raise RuntimeError(f"refused: {answer!r}")
            done += time.perf_counter() < started_at_s + duration_s
        writer.close()

    ports = zip(cycle(running.ports), range(_CONNECTIONS), strict=False)
    await asyncio.gather(*(work(port) for port, _ in ports))
    return done


def _requests(running: Bench) -> Iterator[bytes]:
    exchanges = exchange_requests(running.tokens, _ITEMS, Random(_SEED))
    # User 1 is the champion; a task a member, so that none is completed twice.
    tasks = (
        post("/graphql", _complete(task), token)
        for task in range(1, _TASKS + 1)
        for token in running.tokens[1:]
    )
    while True:
        yield next(exchanges)
        yield next(tasks)


def _complete(task: int) -> bytes:
    return orjson.dumps({"query": _COMPLETE, "variables": {"task": encode_id("Task", task)}})


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """The body of the answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)
