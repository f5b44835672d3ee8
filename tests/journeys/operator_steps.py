"""What operators do in these stories: one call each, and the whole answer."""

from collections.abc import Sequence
from typing import Any

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_user, execute, fingerprint_of_database

ITEM = """
  id name description points stock imageUrl category tags type isActive availableFrom
  availableUntil perUserLimit { count period }
"""
_PROBLEM = "__typename ... on Problem { code message } ... on NotFound { id }"
_QUERIES = {
    "saveItem": f"""
        mutation ($input: SaveItemInput!) {{ saveItem(input: $input) {{
          {_PROBLEM} ... on InvalidInput {{ field }} ... on SaveItemSuccess {{ item {{ {ITEM} }} }}
        }} }}""",
    "saveTask": f"""
        mutation ($input: SaveTaskInput!) {{ saveTask(input: $input) {{
          {_PROBLEM} ... on InvalidInput {{ field }}
          ... on SaveTaskSuccess {{ task {{
            id name description pointsReward frequency status progress {{ current target }}
            startsAt endsAt config
          }} }}
        }} }}""",
    "saveAchievement": f"""
        mutation ($input: SaveAchievementInput!) {{ saveAchievement(input: $input) {{
          {_PROBLEM} ... on InvalidInput {{ field }}
          ... on SaveAchievementSuccess {{ achievement {{
            id key name description badgeUrl measure isActive pointsReward
            progress {{ current target }}
          }} }}
        }} }}""",
    "adjustStock": f"""
        mutation ($input: AdjustStockInput!) {{ adjustStock(input: $input) {{
          {_PROBLEM}
          ... on OutOfStock {{ item {{ id stock }} }}
          ... on IdempotencyConflict {{ idempotencyKey }}
          ... on AdjustStockSuccess {{ replayed item {{ {ITEM} }} }}
        }} }}""",
    "importCoupons": f"""
        mutation ($input: ImportCouponsInput!) {{ importCoupons(input: $input) {{
          {_PROBLEM} ... on InvalidInput {{ field }}
          ... on ImportCouponsSuccess {{ imported duplicates item {{ {ITEM} }} }}
        }} }}""",
}


async def add_operator(mall: Mall, name: str = "olga") -> int:
    """An operator who signed in before, so that asking changes nothing of them."""
    return await add_user(mall, name, last_login_at=mall.clock())


async def operate(client: Client, mutation: str, *, operator: str = "olga", **asked: Any) -> Any:
    """What the operator's mutation is answered; never an error."""
    query = _QUERIES[mutation]
    answer = await client.post(query, {"input": asked}, client.token(operator, "operator"))
    assert "errors" not in answer, answer["errors"]
    return answer["data"][mutation]


async def operate_in_vain(client: Client, mutation: str, **asked: Any) -> str:
    """The code of the error that the operator's mutation ends in."""
    query = _QUERIES[mutation]
    answer = await client.post(query, {"input": asked}, client.token("olga", "operator"))
    (error,) = answer["errors"]
    return error["extensions"]["code"]


async def refused(mall: Mall, client: Client, mutation: str, **asked: Any) -> Any:
    """The refusal of an operator's mutation, after which the database is as it was."""
    before = await fingerprint_of_database(mall)
    answer = await operate(client, mutation, **asked)
    assert answer["message"], answer
    assert await fingerprint_of_database(mall) == before, asked
    return answer


async def all_refused(
    mall: Mall, client: Client, mutation: str, cases: Sequence[tuple[dict[str, Any], list[str]]]
) -> None:
    """Each input is refused as invalid by the field beside it, and none changes the database."""
    before = await fingerprint_of_database(mall)
    for asked, field in cases:
        answer = await operate(client, mutation, **asked)
        assert (answer.get("code"), answer.get("field")) == ("INVALID_INPUT", field), asked
        assert answer["message"]
    assert await fingerprint_of_database(mall) == before


def item_id_of(number: int) -> str:
    """The global id of an item."""
    return encode_id("ExchangeItem", number)


async def actions(mall: Mall) -> list[Any]:
    """What operators did: (operator, action, kind, key, details), in order."""
    sql = "SELECT operator_id, action, kind, key, details FROM operator_actions ORDER BY id"
    return [tuple(row) for row in await execute(mall, sql)]


async def asked_for(mall: Mall, job: str) -> list[Any]:
    """The payloads of the outbox for a job, in order."""
    sql = "SELECT payload FROM outbox WHERE job = :job ORDER BY id"
    return [row.payload for row in await execute(mall, sql, job=job)]


async def wish(mall: Mall, item_id: int, name: str = "wisher") -> None:
    """Let a new member wish for an item."""
    user_id = await add_user(mall, name)
    sql = "INSERT INTO wishes (user_id, item_id) VALUES (:user, :item)"
    await execute(mall, sql, user=user_id, item=item_id)


async def stock_of(mall: Mall, item_id: int) -> tuple[int, int]:
    """(left, ever put in) of an item."""
    sql = "SELECT stock, total_stock FROM exchange_items WHERE id = :id"
    return tuple((await execute(mall, sql, id=item_id))[0])
