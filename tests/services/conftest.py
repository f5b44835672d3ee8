"""How property tests run: the same cases every time, as long as a busy machine needs for them."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from tests.services.statements import Statements

settings.register_profile(
    "mall",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mall")


@pytest.fixture
def statements() -> Iterator[Statements]:
    """Listens to every connection that is opened from now on: name it before the mall."""
    listening = Statements()
    event.listen(Engine, "before_cursor_execute", listening.executes)
    event.listen(Pool, "connect", listening.connects)
    yield listening
    event.remove(Pool, "connect", listening.connects)
    event.remove(Engine, "before_cursor_execute", listening.executes)
