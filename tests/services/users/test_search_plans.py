"""How members are found among 100,000: by the indexes, however common or rare the beginning is."""

from typing import Any

from sqlalchemy import text

from services.mall import Mall
from services.operators import actions_page
from services.paging import LARGEST_PAGE
from services.users.search import search_users
from tests.services.catalogue.test_search_plans import Sent, nodes, plan_of
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
_SAME = text("UPDATE users SET username = 'Same' WHERE id % 2 = 0")
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


async def rows_of(mall: Mall, statement: str, *parameters: Any) -> dict[str, float]:
    """How many rows each node of the plan that is run really gave, in all its loops."""
    async with mall.stores.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"PREPARE found AS {statement}")
        given = ", ".join(f"'{each}'" for each in parameters)
        explain = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE found"
        plan = await driver.fetchval(f"{explain}({given})")
        await driver.execute("DEALLOCATE found")
    return {
        f"{number} {node['Node Type']} {node.get('Index Name', '')}": node["Actual Loops"]
        * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for number, node in enumerate(nodes(plan[0]["Plan"]))
    }


async def test_members_are_found_by_the_indexes_at_100_000(mall: Mall, sent: Sent) -> None:
    """Few rows, however many share the beginning or even the text; nothing is walked or sorted."""
    await fill(mall, _FILL, _SAME)
    for search, found in (("sub-99", 20), ("1", 20), ("m", 20), ("same", 20), ("mail77@", 1)):
        sent.statements.clear()
        sent.parameters.clear()
        async with mall.stores.read() as session:
            first = await search_users(session, search, size=20, after=None)
            if first.has_next:
                await search_users(session, search, size=20, after=first.cursors[-1])
        assert len(first.rows) == found, search
        assert len(sent.statements) == 1 + first.has_next
        for statement, parameters in zip(sent.statements, sent.parameters, strict=True):
            rows = await rows_of(mall, statement, *parameters)
            assert max(rows.values()) <= 4 * (LARGEST_PAGE + 1), (search, rows)
            assert {name.split()[-1] for name in rows if " ix_" in name} == SOUGHT
            assert not [name for name in rows if "Seq Scan" in name], rows


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
