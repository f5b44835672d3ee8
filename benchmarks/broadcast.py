"""A broadcast to many: planning it, then delivering it to doubles of FCM and APNs.

Delivery is compared with a bare loop that hands as many messages to the same clients, without a
mall around it. `python -m benchmarks.broadcast` runs this one alone.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.imports import connect
from benchmarks.memory import read_peak_mib
from benchmarks.servers import SECRET, Bench, bench
from services.notifications.open import open_providers
from services.notifications.providers import PushMessage, PushProvider, Sent
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import NotificationSettings

_ROOT = Path(__file__).parent.parent
_BARE_AT_ONCE = 2_000
_LOOK_EVERY_S = 1.0
_SLOWEST_PER_SECOND = 50
_BROADCAST = """
    mutation { broadcastPush(input: {
        title: "News of the mall", body: "There is something new for you to see.",
        audience: {locale: "en-bench"}, payload: {screen: "home"}, idempotencyKey: "bench"
    }) { ... on BroadcastPushSuccess { recipients } } }
"""
# Quiet hours hold what is planned, so that planning and delivering are measured one by one.
_ARRANGE = (
    "UPDATE users SET locale = 'en-bench' WHERE id <= $1",
    """
    INSERT INTO devices (id, user_id, platform, token, created_at, last_seen_at)
    SELECT uuidv7(), id, (ARRAY['ios', 'android'])[id % 2 + 1], lpad(to_hex(id), 64, '0'),
           now(), now()
    FROM users WHERE id <= $1
    """,
    """
    INSERT INTO push_preferences (user_id, quiet_from, quiet_until)
    SELECT id, (now() AT TIME ZONE timezone)::time - interval '1 hour',
           (now() AT TIME ZONE timezone)::time + interval '6 hours'
    FROM users WHERE id <= $1
    """,
)
# Rows of the outbox until they ask for $1 pushes: all, or some of very many.
_RELEASE = (
    "UPDATE push_preferences SET quiet_from = quiet_until",
    """
    WITH asked AS (
        SELECT id, payload,
               sum(jsonb_array_length(payload -> 'push_ids')) OVER (ORDER BY id) AS so_far
        FROM outbox WHERE job = 'deliver_bulk_pushes' AND done_at IS NULL
    ), released AS (
        UPDATE outbox SET due_at = now() FROM asked
        WHERE outbox.id = asked.id AND so_far <= $1 RETURNING outbox.payload
    )
    UPDATE push_records SET due_at = now() FROM released, jsonb_array_elements_text(
        released.payload -> 'push_ids'
    ) AS push(id) WHERE push_records.id = push.id::uuid
    """,
)
# Each from when a relay first sent such a job: a worker takes a while to start.
_PLANNED = """
    SELECT extract(epoch FROM planned_at - (
        SELECT min(sent_at) FROM outbox WHERE job = 'plan_campaign'
    ))::float FROM campaigns
    WHERE planned_at IS NOT NULL AND planned = recipients
"""
_DELIVERED = """
    SELECT extract(epoch FROM max(sent_at) - (
        SELECT min(sent_at) FROM outbox WHERE job = 'deliver_bulk_pushes'
    ))::float FROM push_records WHERE due_at <= now() AND status <> 'suppressed'
    HAVING bool_and(status = 'sent')
"""
# Members who fit by everything that can be asked for: the dearest count.
_BROADCAST_TO_FEW = """
    mutation { broadcastPush(input: {
        title: "News of the mall", body: "For you.", idempotencyKey: "count", audience: {
            locale: "en-bench", platform: IOS, inactiveDays: 1, minAvailablePoints: 1000000000
        }
    }) { ... on BroadcastPushSuccess { recipients } } }
"""

_STATES = """
    SELECT jsonb_object_agg(concat_ws(' ', status, reason), pushes) FROM (
        SELECT status, reason, count(*) AS pushes FROM push_records GROUP BY status, reason
    ) AS of_state
"""


@dataclass(frozen=True, slots=True)
class BroadcastFound:
    """What a broadcast took; the peaks of memory are those of the two workers, in MiB."""

    recipients: int
    delivered: int
    counted_s: float
    planned_per_second: float
    delivered_per_second: float
    bare_per_second: float
    planning_mib: float
    delivering_mib: float

    def __str__(self) -> str:
        """A line of the report."""
        return (
            f"{'broadcast':<24} {self.delivered_per_second / self.bare_per_second:.3f}  "
            f" ({self.delivered:,} devices, {self.delivered_per_second:,.0f}/s delivered against"
            f" {self.bare_per_second:,.0f}/s; {self.recipients:,} planned at"
            f" {self.planned_per_second:,.0f}/s, counted in {self.counted_s:.1f} s;"
            f" peaks {self.planning_mib:,.0f} and {self.delivering_mib:,.0f} MiB)"
        )


def run_broadcast(
    bench: Bench, directory: Path, *, recipients: int, delivered: int
) -> BroadcastFound:
    """Tell the first `recipients` members something, and about `delivered` of them at once.

    Raises when a push did not arrive.
    """
    with _doubles(directory / "doubles") as doubles:
        asyncio.run(_execute(bench, _ARRANGE, recipients))
        environment = {**os.environ, **bench.environment, **doubles}
        planning_s, planning_mib = _with_worker(
            environment, bench, recipients, _PLANNED, lambda: _begin(bench, recipients)
        )
        delivering_s, delivering_mib = _with_worker(
            environment,
            bench,
            recipients,
            _DELIVERED,
            lambda: asyncio.run(_release(bench, delivered)),
        )
        sent = asyncio.run(_fetch(bench, "SELECT count(*) FROM push_records WHERE status = 'sent'"))
        bare_s = asyncio.run(_send_bare(doubles, sent))
        started_at_s = time.perf_counter()
        _begin(bench, 0, _BROADCAST_TO_FEW)
        counted_s = time.perf_counter() - started_at_s
    return BroadcastFound(
        recipients,
        sent,
        counted_s,
        recipients / planning_s,
        sent / delivering_s,
        sent / bare_s,
        planning_mib,
        delivering_mib,
    )


@contextmanager
def _doubles(directory: Path) -> Generator[dict[str, str]]:
    """Doubles of the providers in a process of their own; yields the settings that lead there."""
    directory.mkdir()
    command = [sys.executable, "-m", "tests.doubles", str(directory)]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=20)


async def _release(bench: Bench, delivered: int) -> None:
    free, due = _RELEASE
    await _execute(bench, (free,))
    await _execute(bench, (due,), delivered)


def _begin(bench: Bench, recipients: int, query: str = _BROADCAST) -> None:
    token = issue_token(SECRET, "bench-operator", [Role.OPERATOR])
    request = urllib.request.Request(
        f"http://127.0.0.1:{bench.ports[0]}/graphql",
        json.dumps({"query": query}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = json.load(answer)
    if said != {"data": {"broadcastPush": {"recipients": recipients}}}:
        raise RuntimeError(f"the broadcast went wrong: {said}")


def _with_worker(
    environment: Mapping[str, str],
    bench: Bench,
    recipients: int,
    until: str,
    begin: Callable[[], None],
) -> tuple[float, float]:
    """Begin something and let a worker run until the query says how long it took; and its peak."""
    process = subprocess.Popen([sys.executable, "cli.py", "worker"], cwd=_ROOT, env=environment)
    try:
        begin()
        deadline_s = time.monotonic() + 60 + recipients / _SLOWEST_PER_SECOND
        while (duration_s := asyncio.run(_fetch(bench, until))) is None:
            if time.monotonic() > deadline_s:
                states = asyncio.run(_fetch(bench, _STATES))
                raise RuntimeError(f"{recipients:,} recipients took too long: {states}")
            time.sleep(_LOOK_EVERY_S)
        return duration_s, read_peak_mib(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def _execute(bench: Bench, statements: tuple[str, ...], *arguments: object) -> None:
    connection = await connect(bench.database_url)
    try:
        for statement in statements:
            await connection.execute(statement, *arguments)
        await connection.execute("ANALYZE users, devices, push_preferences, push_records")
    finally:
        await connection.close()


async def _fetch(bench: Bench, query: str) -> Any:
    connection = await connect(bench.database_url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _send_bare(doubles: Mapping[str, str], recipients: int) -> float:
    """Seconds that the clients take for as many messages, half to each provider, and no mall."""
    values = {name.removeprefix("MALL_").lower(): value for name, value in doubles.items()}
    async with open_providers(NotificationSettings.model_validate(values)) as providers:
        started_at_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for remainder, platform in enumerate(("ios", "android")):
                numbers = range(remainder, recipients, 2)
                group.create_task(_send_all(providers[platform], numbers))
        return time.perf_counter() - started_at_s


async def _send_all(provider: PushProvider, numbers: range) -> None:
    for start in range(0, len(numbers), _BARE_AT_ONCE):
        messages = [_message(number) for number in numbers[start : start + _BARE_AT_ONCE]]
        outcomes = await provider.send(messages)
        if not all(isinstance(outcome, Sent) for outcome in outcomes):
            raise RuntimeError(f"the bare loop went wrong: {outcomes[0]}")


def _message(number: int) -> PushMessage:
    data = {"screen": "home", "pushId": f"bench-{number:026d}", "type": "CAMPAIGN"}
    title, body = "News of the mall", "There is something new for you to see."
    return PushMessage(f"{number:064x}", title, body, data, f"{number:032x}")


def main() -> None:
    """Run it alone, in a mall of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broadcast")
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--delivered", type=int, default=100_000)
    options = parser.parse_args()
    recipients = options.recipients
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)  # the database server may run as a user of its own
        with bench(Path(directory), users=recipients, items=1, processes=1) as running:
            found = run_broadcast(
                running, Path(directory), recipients=recipients, delivered=options.delivered
            )
            print(found)


if __name__ == "__main__":
    main()
