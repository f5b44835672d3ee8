"""Whom these stories are about."""

import pytest

from services.mall import Mall
from tests.factories import add_item, add_task, add_user, give_points


@pytest.fixture
async def alice(mall: Mall) -> int:
    """Alice, signed in before, with 1,000 points, an item and a task to ask for; and a service."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    await add_user(mall, "till", last_login_at=mall.clock())
    await give_points(mall, user_id, 1000)
    await add_item(mall)
    await add_task(mall)
    return user_id
