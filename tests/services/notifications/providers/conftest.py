"""Both doubles in the test's event loop, and a clock for them and for whoever talks to them."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.doubles.both import Doubles, both_doubles


@dataclass
class UnixClock:
    """Seconds as the test has them: those of now, until it moves them."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> UnixClock:
    return UnixClock()


@pytest.fixture
async def doubles(tmp_path: Path, clock: UnixClock) -> AsyncIterator[Doubles]:
    async with both_doubles(tmp_path, clock) as running:
        yield running
