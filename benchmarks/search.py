"""How long a search among 100,000 items takes, against a bare route, and against its bare SQL."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from urllib.parse import quote

import orjson

from benchmarks.bare_sql import p95_of_sql_ms
from benchmarks.data import fill_searchable
from benchmarks.load import Answers, drive, get, post
from benchmarks.ratio import Ratio
from benchmarks.servers import Bench
from models.stores import create_engine
from settings import StoreSettings

ITEMS = 100_000
CONNECTIONS = 4
"""Few: a time of one request is wanted, not of a queue."""

_SHARE = 0.95
_TEXTS = (
    *("耳机", "咖啡", "茶叶", "露营", "拼图", "停车", "牙刷", "电影票", "充电器", "spf", "usb-c"),
    *("移动电", "手机支架", "视频会员", "旅行收纳", "65w 充电器"),  # of several words, unfinished
    *("充电宝", "蓝牙耳机", "儿童保温杯", "wireless 耳机"),  # that nothing has all of
)
_QUERY = """query ($search: String!) {
  items(first: 20, filter: {search: $search}, orderBy: RELEVANCE) {
    nodes { id name description points stock category tags type isActive }
  }
}"""


def run_search(bench: Bench, *, rounds: int, duration_s: int) -> list[Ratio]:
    """The 95th percentile of one web process, of one bare process, and of the SQL alone, in turn.

    The items are added first, so this comes after what is measured with fewer.
    """
    asyncio.run(_fill(bench.database_url))
    random = Random(13)

    def ours() -> bytes:
        body = {"query": _QUERY, "variables": {"search": random.choice(_TEXTS)}}
        return post("/graphql", orjson.dumps(body))

    def bare() -> bytes:
        return get(f"/search?text={quote(random.choice(_TEXTS))}")

    times_ms = [
        (
            _p95_ms(bench.ports[0], ours, duration_s),
            _p95_ms(bench.bare_port, bare, duration_s),
            p95_of_sql_ms(
                bench.database_url, _TEXTS, connections=CONNECTIONS, duration_s=duration_s
            ),
        )
        for _ in range(rounds)
    ]
    route = _ratio("a bare route", [(mine, route) for mine, route, _ in times_ms])
    return [route, _ratio("its bare SQL", [(mine, sql) for mine, _, sql in times_ms])]


def _ratio(baseline: str, pairs: Sequence[tuple[float, float]]) -> Ratio:
    ratios = tuple(mine / theirs for mine, theirs in pairs)
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    name = f"p95 of a search in {ITEMS:,} items, {baseline}"
    return Ratio(name, mine, theirs, median(ratios), ratios, unit=" ms")


def _p95_ms(port: int, request: Callable[[], bytes], duration_s: int) -> float:
    async def run() -> Answers:
        return await drive([port], request, _finds, connections=CONNECTIONS, duration_s=duration_s)

    answers = asyncio.run(run())
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers.percentile_ms(_SHARE)


def _finds(body: bytes) -> bool:
    answer = orjson.loads(body)
    if isinstance(answer, list):
        return bool(answer)
    return "errors" not in answer and bool(answer["data"]["items"]["nodes"])


async def _fill(database_url: str) -> None:
    engine = create_engine(StoreSettings(database_url=database_url))
    await fill_searchable(engine, items=ITEMS)
    await engine.dispose()
