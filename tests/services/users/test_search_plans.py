"""How members are found among 100,000: by the indexes, however common or rare the beginning is."""

from typing import Any

from sqlalchemy import text

from services.mall import Mall
from services.operators import actions_page
from services.users.search import search_users
from tests.services.catalogue.test_search_plans import Sent, plan_of
from tests.services.catalogue.test_search_plans import sent as sent

USERS = 100_000
_FILL = text(
    f"""
    INSERT INTO users (external_id, username, email, phone, locale, timezone)
    SELECT 'Sub-' || n, 'Member ' || md5(n::text), 'mail' || n || '@mall.test',
           '138' || lpad(n::text, 8, '0'), 'zh-CN', 'Asia/Shanghai'
    FROM generate_series(1, {USERS}) n
    """
)
_FILL_TRAIL = text(
    """
    INSERT INTO operator_actions (id, operator_id, action, kind, key, details)
    SELECT uuidv7(), n % 50 + 1, 'suspend_user', 'User', n::text, '{}'
    FROM generate_series(1, 20000) n
    """
)
SOUGHT = {f"ix_users_{name}_sought" for name in ("username", "external_id", "email", "phone")}


async def fill(mall: Mall, *statements: Any) -> None:
    """Many rows, and what the planner knows of them."""
    async with mall.stores.engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)
        await connection.execute(text("ANALYZE users, operator_actions"))


async def test_members_are_found_by_the_indexes_at_100_000(mall: Mall, sent: Sent) -> None:
    """One statement, four indexes, and then the page by its ids; nothing is walked."""
    await fill(mall, _FILL)
    for search, found in (("sub-99", 20), ("member ", 20), ("mail77@", 1), ("nobody", 0)):
        sent.statements.clear()
        async with mall.stores.read() as session:
            page = await search_users(session, search, size=20, after=None)
        assert (len(page.rows), len(sent.statements)) == (found, 1), search
    plan = await plan_of(mall, sent.statements[0])
    used = {node["Index Name"] for node in plan if "Index Name" in node}
    assert used == {*SOUGHT, "pk_users"}
    assert not [node for node in plan if node["Node Type"] == "Seq Scan"]
    [by_id] = [node for node in plan if node.get("Index Name") == "pk_users"]
    assert by_id["Index Cond"].startswith("(id = ANY")


async def test_the_newest_members_are_walked_no_further_than_a_page(mall: Mall, sent: Sent) -> None:
    """Without a search."""
    await fill(mall, _FILL)
    sent.statements.clear()
    async with mall.stores.read() as session:
        page = await search_users(session, None, size=20, after=None)
    assert [user.id for user in page.rows] == list(range(USERS, USERS - 20, -1))
    plan = await plan_of(mall, sent.statements[0])
    assert [node["Node Type"] for node in plan] == ["Limit", "Index Scan"]


async def test_the_trail_is_read_by_its_indexes(mall: Mall, sent: Sent) -> None:
    """Of all, of an operator, of a target: in the order of an index, without sorting."""
    await fill(mall, _FILL, _FILL_TRAIL)
    for asked, index in (
        ({}, "pk_operator_actions"),
        ({"operator_id": 7}, "ix_operator_actions_operator_id"),
        ({"target": ("User", 7)}, "ix_operator_actions_target"),
    ):
        sent.statements.clear()
        async with mall.stores.read() as session:
            await actions_page(session, size=50, after=None, **asked)
        plan = await plan_of(mall, sent.statements[0])
        assert [node.get("Index Name") for node in plan] == [None, index], asked
        assert plan[0]["Node Type"] == "Limit"
