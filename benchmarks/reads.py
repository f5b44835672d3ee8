"""Queries per second through GraphQL against a bare Starlette route that runs the same SQL."""

import asyncio
from collections.abc import Callable
from random import Random
from statistics import median

import orjson

from benchmarks.load import Answers, Check, drive, get, post
from benchmarks.ratio import Ratio
from benchmarks.servers import Bench

CONNECTIONS = 64
_READERS = 2_000

_QUERIES = {
    "balance": "{ balance { available pending expiringSoon lifetimeEarned lifetimeRedeemed } }",
    "tasks": "{ tasks { id name pointsReward frequency status progress { current target } } }",
}


def _has_data(field: str) -> Check:
    def check(body: bytes) -> bool:
        answer = orjson.loads(body)
        return "errors" not in answer and bool(answer["data"][field])

    return check


def _is_answer(body: bytes) -> bool:
    return bool(orjson.loads(body))


def run_reads(bench: Bench, field: str, *, rounds: int, duration_s: int) -> Ratio:
    """One web process against one bare process, in turn; every answer is checked."""
    random, tokens = Random(11), bench.tokens[:_READERS]
    body = orjson.dumps({"query": _QUERIES[field]})

    def ours() -> bytes:
        return post("/graphql", body, random.choice(tokens))

    def bare() -> bytes:
        return get(f"/{field}?user={random.randint(1, _READERS)}")

    pairs = [
        (
            _drive(bench.ports[0], ours, _has_data(field), duration_s),
            _drive(bench.bare_port, bare, _is_answer, duration_s),
        )
        for _ in range(rounds)
    ]
    for mine, theirs in pairs:
        print(f"  {field}: {mine:,.0f}/s against {theirs:,.0f}/s", flush=True)
    ratios = tuple(mine / theirs for mine, theirs in pairs)
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    return Ratio(f"{field} against a bare route", mine, theirs, median(ratios), ratios)


def _drive(port: int, request: Callable[[], bytes], check: Check, duration_s: int) -> float:
    async def run() -> Answers:
        return await drive([port], request, check, connections=CONNECTIONS, duration_s=duration_s)

    answers = asyncio.run(run())
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers.per_second
