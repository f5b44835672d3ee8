"""Both providers' doubles, and a worker that delivers through them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.mall import Mall
from tests.doubles.both import Doubles, both_doubles
from tests.services.notifications.pushing import PostOffice, post_office


@pytest.fixture
async def doubles(tmp_path: Path) -> AsyncIterator[Doubles]:
    """FCM and APNs."""
    async with both_doubles(tmp_path) as running:
        yield running


@pytest.fixture
async def office(mall: Mall, doubles: Doubles) -> AsyncIterator[PostOffice]:
    """Delivers through both."""
    async with post_office(mall, doubles.settings()) as opened:
        yield opened
