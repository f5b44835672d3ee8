"""Exchanges per second through GraphQL over HTTP against the plain SQL transaction by pgbench."""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from statistics import median

import orjson

from benchmarks.load import Answers, drive, post
from benchmarks.ratio import Ratio
from benchmarks.servers import Bench
from schema.ids import encode_id

CONNECTIONS = 64
PGBENCH_CLIENTS = 32
_SIGN_IN_TIMEOUT_S = 300

_MUTATION = """
mutation Exchange($input: OneClickExchangeInput!) {
  oneClickExchange(input: $input) {
    __typename
    ... on OneClickExchangeSuccess {
      exchange { id status points createdAt }
      pointsUsed
      remainingPoints
      replayed
    }
    ... on Problem { code message }
  }
}
"""


def exchange_requests(tokens: Sequence[str], items: int, random: Random) -> Iterator[bytes]:
    """Exchanges of random items by random members, without end, each under a key of its own."""
    item_ids = [encode_id("ExchangeItem", item) for item in range(1, items + 1)]
    run = uuid.uuid4().hex
    for number in count():
        asked = {"itemId": random.choice(item_ids), "idempotencyKey": f"{run}-{number}"}
        body = orjson.dumps({"query": _MUTATION, "variables": {"input": asked}})
        yield post("/graphql", body, random.choice(tokens))


def is_settled(body: bytes) -> bool:
    """Every answer is checked: a new exchange at the item's price, nothing else."""
    answer = orjson.loads(body)["data"]["oneClickExchange"]
    return (
        answer["__typename"] == "OneClickExchangeSuccess"
        and answer["pointsUsed"] == answer["exchange"]["points"] == 100
        and answer["exchange"]["status"] == "COMPLETED"
        and answer["replayed"] is False
    )


def sign_everyone_in(bench: Bench) -> None:
    """Let every member open the app once on every process, as they have before they exchange.

    Otherwise the first rounds would measure first sights: signatures and look-ups of strangers.
    """
    body = orjson.dumps({"query": "{ __typename }"})
    for port in bench.ports:
        requests = (post("/graphql", body, token) for token in bench.tokens)
        asyncio.run(_sign_in(port, requests))


async def _sign_in(port: int, requests: Iterator[bytes]) -> None:
    answers = await drive(
        [port],
        requests.__next__,
        lambda body: b"Query" in body,
        connections=CONNECTIONS,
        duration_s=_SIGN_IN_TIMEOUT_S,
    )
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")


def run_exchanges(bench: Bench, name: str, *, items: int, rounds: int, duration_s: int) -> Ratio:
    """Interleave rounds of both; raises when any answer is not a settled exchange."""
    random = Random(7)
    requests = exchange_requests(bench.tokens, items, random)
    ours: list[float] = []
    baseline: list[float] = []
    for _ in range(rounds):
        baseline.append(
            bench.pgbench(
                "exchange.sql",
                clients=PGBENCH_CLIENTS,
                duration_s=duration_s,
                users=bench.users,
                items=items,
            )
        )
        answers = asyncio.run(_drive(bench, requests, duration_s))
        ours.append(answers.per_second)
        print(
            f"  {name}: {ours[-1]:,.0f}/s (p50 {answers.percentile_ms(0.5):.1f} ms,"
            f" p99 {answers.percentile_ms(0.99):.1f} ms) against {baseline[-1]:,.0f}/s",
            flush=True,
        )
    ratios = tuple(mine / theirs for mine, theirs in zip(ours, baseline, strict=True))
    return Ratio(name, median(ours), median(baseline), median(ratios), ratios)


async def _drive(bench: Bench, requests: Iterator[bytes], duration_s: float) -> Answers:
    answers = await drive(
        bench.ports,
        requests.__next__,
        is_settled,
        connections=CONNECTIONS,
        duration_s=duration_s,
    )
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers
