"""`ledger verify` finds nothing in right books, and names the row for every kind of wrong ones."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.mall import Mall, open_mall
from services.points.verify import ALL_CHECKS, Violation, verify_ledger
from settings import Settings
from tests.clock import MovableClock
from tests.factories import execute
from tests.services.points.corrupted_achievements import ACHIEVEMENT_CORRUPTIONS
from tests.services.points.corrupted_holds import HOLD_CORRUPTIONS
from tests.services.points.corrupted_invites import INVITE_CORRUPTIONS
from tests.services.points.corrupted_rankings import RANKING_CORRUPTIONS
from tests.services.points.corrupted_returns import RETURN_CORRUPTIONS
from tests.services.points.corrupted_sources import SOURCE_CORRUPTIONS
from tests.services.points.corruptions import CORRUPTIONS, Corruption, arrange_books, plant

_ALL = (
    *CORRUPTIONS,
    *RETURN_CORRUPTIONS,
    *SOURCE_CORRUPTIONS,
    *RANKING_CORRUPTIONS,
    *ACHIEVEMENT_CORRUPTIONS,
    *INVITE_CORRUPTIONS,
    *HOLD_CORRUPTIONS,
)

_ROOT = Path(__file__).parents[3]
_SECTION = re.compile(r"^(\S.*): \d+ row\(s\)\n((?:  .*\n)+)", re.MULTILINE)


@pytest.fixture
async def spoilt_mall(settings: Settings, clock: MovableClock) -> AsyncIterator[Mall]:
    """A mall whose books nobody verifies afterwards."""
    async with open_mall(settings, clock) as mall:
        yield mall


@pytest.fixture
async def names(spoilt_mall: Mall, clock: MovableClock) -> dict[str, object]:
    """Right books with something of everything; what their rows are called."""
    return await arrange_books(spoilt_mall, clock)


async def _verify(mall: Mall) -> list[Violation]:
    async with mall.stores.read() as session:
        return await verify_ledger(session)


async def _verify_as_operator(settings: Settings) -> subprocess.CompletedProcess[str]:
    secret = settings.access.jwt_secret
    assert isinstance(secret, SecretStr)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MALL_")},
        "MALL_DATABASE_URL": str(settings.stores.database_url),
        "MALL_REDIS_URL": str(settings.stores.redis_url),
    }
    command = [sys.executable, "cli.py", "ledger", "verify"]
    return await asyncio.to_thread(
        subprocess.run, command, cwd=_ROOT, env=environment, capture_output=True, text=True
    )


async def test_right_books_have_no_violation(
    spoilt_mall: Mall, settings: Settings, names: dict[str, object]
) -> None:
    """Grants, expiry, tasks and exchanges leave nothing to find; the command exits 0."""
    assert await _verify(spoilt_mall) == []
    verified = await _verify_as_operator(settings)
    assert (verified.returncode, verified.stdout) == (0, "The books are right.\n")


def test_every_check_has_a_corruption() -> None:
    """A check that no corruption here triggers may never have worked."""
    assert {corruption.rule for corruption in _ALL} == ALL_CHECKS.keys()


@pytest.mark.parametrize("corruption", _ALL, ids=lambda c: f"{c.rule}, {c.place}")
async def test_a_corruption_is_named(
    spoilt_mall: Mall, names: dict[str, object], corruption: Corruption
) -> None:
    """The check finds the one row that was spoilt, and names it; where no other would, alone."""
    await plant(spoilt_mall, corruption, names)
    violations = {violation.rule: violation for violation in await _verify(spoilt_mall)}
    found = violations[corruption.rule]
    assert len(found.rows) == 1
    assert found.rows[0].startswith(corruption.place.format(**names) + ": ")
    assert not corruption.alone or violations.keys() == {corruption.rule}


async def test_the_command_names_every_corruption(
    spoilt_mall: Mall, settings: Settings, names: dict[str, object]
) -> None:
    """With one of every kind planted it exits 1, and every row stands below its rule."""
    planted = {corruption.rule: corruption for corruption in reversed(_ALL)}
    for corruption in planted.values():
        await plant(spoilt_mall, corruption, names)
    verified = await _verify_as_operator(settings)
    assert verified.returncode == 1
    assert verified.stdout.endswith("The books are NOT right.\n")
    sections = dict(_SECTION.findall(verified.stdout))
    for rule, corruption in planted.items():
        assert f"  {corruption.place.format(**names)}: " in sections[rule]


async def test_every_row_is_named(spoilt_mall: Mall, names: dict[str, object]) -> None:
    """50 wrong balances: all of them."""
    await execute(
        spoilt_mall,
        "INSERT INTO users (external_id, username, locale, timezone, points, lifetime_earned)"
        " SELECT 'ghost-' || n, 'ghost', 'en', 'UTC', n, n FROM generate_series(1, 50) n",
    )
    found = {violation.rule: violation for violation in await _verify(spoilt_mall)}
    balances = found["balance is not the sum of the active lots"]
    assert len(balances.rows) == 50
