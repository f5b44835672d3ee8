"""Exchanges per second through GraphQL over HTTP against the plain SQL transaction by pgbench."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from statistics import median

import orjson

from benchmarks.load import Answers, drive, post
from benchmarks.servers import Bench
from schema.ids import encode_id

CONNECTIONS = 64
PGBENCH_CLIENTS = 32

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


@dataclass(frozen=True, slots=True)
class Ratio:
    """Medians over interleaved rounds, and the median of the ratios round by round."""

    name: str
    ours: float
    baseline: float
    ratio: float
    rounds: tuple[float, ...]


def _requests(bench: Bench, tokens: list[str], items: int, random: Random) -> Iterator[bytes]:
    item_ids = [encode_id("ExchangeItem", item) for item in range(1, items + 1)]
    while True:
        user = random.randrange(len(tokens))
        variables = {
            "input": {
                "itemId": random.choice(item_ids),
                "idempotencyKey": uuid.uuid4().hex,
            }
        }
        body = orjson.dumps({"query": _MUTATION, "variables": variables})
        yield post("/graphql", body, tokens[user])


def _is_settled(body: bytes) -> bool:
    """Every answer is checked: a new exchange at the item's price, nothing else."""
    answer = orjson.loads(body)["data"]["oneClickExchange"]
    return (
        answer["__typename"] == "OneClickExchangeSuccess"
        and answer["pointsUsed"] == answer["exchange"]["points"] == 100
        and answer["exchange"]["status"] == "COMPLETED"
        and answer["replayed"] is False
    )


def run_exchanges(bench: Bench, name: str, *, items: int, rounds: int, duration_s: int) -> Ratio:
    """Interleave rounds of both; raises when any answer is not a settled exchange."""
    random = Random(7)
    tokens = [bench.token(user) for user in range(1, bench.users + 1)]
    requests = _requests(bench, tokens, items, random)
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
        _is_settled,
        connections=CONNECTIONS,
        duration_s=duration_s,
    )
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers
