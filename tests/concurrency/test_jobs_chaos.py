"""Whatever crashes, whoever exchanged is told: each exchange is confirmed once and sent.

Servers, workers (a relay in each) and schedulers are killed at random, and Valkey forgets all,
while a campaign goes out, and providers that are slow with some.
"""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import redis

from dev.embedded import StoreUrls
from models.notifications import DevicePlatform
from schema.ids import decode_id, encode_id
from services.mall import open_mall
from services.notifications.audience import Audience
from services.notifications.broadcast import Broadcast, broadcast
from services.transaction import transaction
from settings import JobSettings
from tests.concurrency.conftest import Town, members_of, start_servers
from tests.concurrency.operations import EXCHANGE, Answer, add_members
from tests.concurrency.servers import (
    SCHEDULE,
    WORK,
    ServerProcess,
    noon_zone,
    restart_store,
    verify_books,
)
from tests.databases import settings_of
from tests.doubles.both import Doubles, both_doubles
from tests.doubles.listening import Seen
from tests.factories import add_item, execute
from tests.jobs.asking import all_done, until
from tests.pushes import add_device

pytestmark = pytest.mark.xdist_group("jobs_chaos")

_EXCHANGES, _AT_ONCE, _MEMBERS = 5_000, 24, 60
_FLUSH_AT, _RESTART_AT = (1_000, 3_500), 2_000
_RESEND_S, _LONGEST_S, _DOWN_S = 2.0, 300.0, 1.0
_EXCHANGES_BETWEEN_DEATHS, _GONE_S = (100, 300), (0.0, 0.5)
_PAUSE_AFTER_LOSS_S = 0.2
_CAMPAIGN_OF, _ONE_SLOW_IN, _SLOW_S = 2_000, 40, 1.0


@dataclass(frozen=True)
class Works:
    """A town, what works behind it, and the providers that its pushes reach."""

    town: Town
    workers: tuple[ServerProcess, ...]
    schedulers: tuple[ServerProcess, ...]
    doubles: Doubles

    @property
    def processes(self) -> tuple[ServerProcess, ...]:
        """Everything that may be killed."""
        return (*self.town.servers, *self.workers, *self.schedulers)


@pytest.fixture
async def works(migrated: StoreUrls, tmp_path: Path) -> AsyncIterator[Works]:
    """Two of each process on stores of their own; what is lost is sent again soon."""
    plain = settings_of(migrated.database_url, redis_url=migrated.redis_url, timezone=noon_zone())
    async with AsyncExitStack() as stack:
        doubles = await stack.enter_async_context(both_doubles(tmp_path))
        settings = replace(
            plain, jobs=JobSettings(job_resend_s=_RESEND_S), notifications=doubles.settings()
        )
        mall = await stack.enter_async_context(open_mall(settings))
        servers = await start_servers(stack, mall, tmp_path, 2)
        town = Town(mall, await members_of(stack, servers), servers)
        workers, schedulers = (
            tuple(ServerProcess(settings, tmp_path, program) for _ in range(2))
            for program in (WORK, SCHEDULE)
        )
        for process in (*workers, *schedulers):
            process.start()
            stack.callback(process.stop)
        yield Works(town, workers, schedulers, doubles)


async def _members_with_devices(town: Town) -> list[str]:
    """Every third has a phone of each kind. It is noon: no congratulation has to wait."""
    names = [f"{uuid4().hex}-{number}" for number in range(_MEMBERS)]
    user_ids = await add_members(town.mall, names, 1_000_000)
    await execute(town.mall, "UPDATE users SET timezone = :noon", noon=noon_zone())
    for number, user_id in enumerate(user_ids):
        if number % 3 != 1:
            await add_device(town.mall, user_id, uuid4().hex, DevicePlatform.IOS)
        if number % 3 != 2:
            await add_device(town.mall, user_id, f"fcm-{uuid4().hex}", DevicePlatform.ANDROID)
    return names


async def _begin_campaign(works: Works) -> None:
    """For many who are told of nothing else; the phones of some answer slowly."""
    mall = works.town.mall
    works.doubles.fcm.slow_s = _SLOW_S
    user_ids = await add_members(mall, [f"{uuid4().hex}" for _ in range(_CAMPAIGN_OF)], 0)
    for number, user_id in enumerate(user_ids):
        token = f"fcm-{uuid4().hex}"
        await add_device(mall, user_id, token, DevicePlatform.ANDROID)
        if number % _ONE_SLOW_IN == 0:
            works.doubles.fcm.script.set(token, "slow")
    # Wherever it is run: nobody's quiet hours.
    await execute(mall, "UPDATE users SET timezone = :zone", zone=mall.zone.key)
    asked = Broadcast(user_ids[0], "News", "For you", {}, Audience(user_ids=user_ids), "key")
    async with transaction(mall.stores.write) as session:
        assert (await broadcast(session, asked, mall.clock())).recipients == _CAMPAIGN_OF


async def _exchange_all(town: Town, names: Sequence[str], made: list[str]) -> None:
    """Each under a key of its own, repeated until it is answered; ids of exchanges go to `made`."""
    item = encode_id("ExchangeItem", await add_item(town.mall, points=10, stock=_EXCHANGES * 2))
    turns = itertools.count()

    async def work() -> None:
        while (number := next(turns)) < _EXCHANGES:
            made.append(await _exchange(town, names[number % len(names)], item))

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _exchange(town: Town, who: str, item: str) -> str:
    key = uuid4().hex
    while True:
        try:
            answer = await town.members.ask(who, EXCHANGE, item=item, key=key)
        except httpx2.TransportError:
            await asyncio.sleep(_PAUSE_AFTER_LOSS_S)
            continue
        if "errors" not in answer:
            return decode_id(answer["data"]["oneClickExchange"]["exchange"]["id"])[1]
        _assert_unavailable(answer)
        await asyncio.sleep(_PAUSE_AFTER_LOSS_S)


def _assert_unavailable(answer: Answer) -> None:
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"SERVICE_UNAVAILABLE"}


async def _kill_at_random(processes: Sequence[ServerProcess], made: Sequence[str]) -> int:
    """Kill them in rounds of another order each, until all is exchanged; returns how many died.

    Not by the clock: a machine so slow that nobody got to work would never be done.
    """
    deaths, count = 0, 0
    while True:
        for victim in random.sample(processes, len(processes)):
            count += random.randint(*_EXCHANGES_BETWEEN_DEATHS)
            if count >= _EXCHANGES:
                return deaths
            await until(_are_made(made, count), _LONGEST_S)
            await asyncio.to_thread(victim.kill)
            await asyncio.sleep(random.uniform(*_GONE_S))
            victim.start()
            deaths += 1


def _are_made(made: Sequence[str], count: int) -> Callable[[], Awaitable[bool]]:
    async def are_made() -> bool:
        return len(made) >= count

    return are_made


async def _forget_now_and_then(stores: StoreUrls, made: Sequence[str]) -> None:
    """Empty Valkey twice, and between kill it and start it again."""
    flushing, restarting = set(_FLUSH_AT), {_RESTART_AT}
    for count in sorted(flushing | restarting):
        await until(_are_made(made, count), _LONGEST_S)
        if count in restarting:
            await restart_store(stores.servers[1], _DOWN_S)
        else:
            with redis.Redis.from_url(stores.redis_url) as client:
                await asyncio.to_thread(client.flushall)


def _requests_by_push(seen: Sequence[Seen]) -> dict[str, list[Seen]]:
    by_push: defaultdict[str, list[Seen]] = defaultdict(list)
    for request in seen:
        body = request.body
        data = body["message"]["data"] if request.provider == "fcm" else body
        by_push[decode_id(data["pushId"])[1]].append(request)
    return by_push


async def _assert_each_told_once(works: Works, made: Sequence[str]) -> None:
    mall = works.town.mall
    exchanges = await execute(mall, "SELECT id::text FROM exchanges")
    assert sorted(row.id for row in exchanges) == sorted(made)
    pushes = await execute(
        mall,
        "SELECT push.id::text, type, user_id, reference, status, count(devices.id) AS devices"
        " FROM push_records push LEFT JOIN devices USING (user_id) GROUP BY push.id",
    )
    confirmed = [push.reference for push in pushes if push.type == "exchange_confirmation"]
    assert sorted(confirmed) == sorted(made)
    told = [push.user_id for push in pushes if push.type == "campaign"]
    assert len(told) == len(set(told)) == _CAMPAIGN_OF
    assert {push.status for push in pushes} == {"sent"}
    seen = [*works.doubles.fcm.record.seen, *works.doubles.apns.record.seen]
    requests = _requests_by_push(seen)
    for push in pushes:
        assert len({request.token for request in requests[push.id]}) == push.devices > 0
        assert len({request.collapse_id for request in requests[push.id]}) == 1
    assert len({request.collapse_id for request in seen}) == len(requests)


async def test_whatever_crashes_each_exchange_is_confirmed_once(
    works: Works, migrated: StoreUrls
) -> None:
    """5,000 of them: recorded once, sent, seen by the provider, under one collapse id each."""
    town, made = works.town, list[str]()
    names = await _members_with_devices(town)
    await _begin_campaign(works)
    async with asyncio.TaskGroup() as group:
        killing = group.create_task(_kill_at_random(works.processes, made))
        group.create_task(_forget_now_and_then(migrated, made))
        await _exchange_all(town, names, made)
    assert killing.result() > len(works.processes)
    await all_done(town.mall, _LONGEST_S)
    await _assert_each_told_once(works, made)
    failed = await execute(town.mall, "SELECT job, error FROM outbox WHERE failed_at IS NOT NULL")
    assert failed == []
    slots = await execute(
        town.mall, "SELECT job, payload FROM outbox WHERE payload ? 'slot_at' ORDER BY id"
    )
    assert len({(row.job, row.payload["slot_at"]) for row in slots}) == len(slots)
    for process in works.processes:
        assert '"level": "error"' not in process.log
    verified = verify_books(town.mall.settings)
    assert (verified.returncode, verified.stdout) == (0, "The books are right.\n")
