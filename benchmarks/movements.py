"""A mall at work at a steady rate: members exchange, and complete tasks, in turn."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from itertools import cycle
from random import Random

import orjson

from benchmarks.exchanges import exchange_requests
from benchmarks.load import post
from benchmarks.servers import SECRET, Bench
from schema.ids import encode_id
from services.users.claims import Role
from services.users.tokens import issue_token

_CONNECTIONS = 16
_ITEMS, _TASKS = 1_000, 12
_SEED = 7
_GRANT = """
mutation ($input: GrantPointsInput!) {
  grantPoints(input: $input) { __typename ... on GrantPointsSuccess { balance { available } } }
}
"""
_COMPLETE = """
mutation ($task: ID!) {
  completeTask(input: {taskId: $task}) { __typename ... on Problem { code } }
}
"""


async def move(running: Bench, requests: Iterator[bytes], per_second: int, duration_s: int) -> int:
    """Make these requests at that rate; how many were done in time."""
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


def movement_requests(running: Bench) -> Iterator[bytes]:
    """Exchanges and completed tasks in turn, of members who are signed in; no task twice."""
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


class Giver:
    """A service that gives points, through each process in turn."""

    def __init__(self, running: Bench) -> None:
        """Nothing is given yet."""
        self._ports = cycle(running.ports)
        self._token = issue_token(SECRET, "bench-till", [Role.SERVICE])

    async def give(self, user: int, points: int) -> float:
        """Give them to the user of that number; returns when it was answered.

        Raises RuntimeError when it was refused.
        """
        wanted = {"userId": encode_id("User", user), "points": points, "source": "bench-giver"}
        variables = {"input": {**wanted, "idempotencyKey": uuid.uuid4().hex}}
        body = orjson.dumps({"query": _GRANT, "variables": variables})
        reader, writer = await asyncio.open_connection("127.0.0.1", next(self._ports))
        answer = await ask(reader, writer, post("/graphql", body, self._token))
        answered_at_s = time.perf_counter()
        writer.close()
        if b"GrantPointsSuccess" not in answer:
            raise RuntimeError(f"not given: {answer!r}")
        return answered_at_s


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """The body of the answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)
