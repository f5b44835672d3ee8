"""The main job, end to end: a member arrives, earns, and takes something home."""

from services.mall import Mall
from tests.client import Client
from tests.factories import add_item, add_task, add_user, give_points

_EXCHANGE = """
mutation ($input: OneClickExchangeInput!) {
  oneClickExchange(input: $input) {
    __typename
    ... on OneClickExchangeSuccess {
      pointsUsed remainingPoints replayed
      exchange { id status points item { name stock } paidFrom { points } reward { __typename } }
    }
    ... on Problem { code message }
  }
}
"""


async def test_a_member_earns_and_spends(mall: Mall, client: Client) -> None:
    """Check in, complete a task, exchange with one click, and find it all in the history."""
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 90)
    await add_task(mall, points_reward=10)
    await add_item(mall, points=100, stock=3)
    tasks = (await client.data("{ tasks { id status } }", as_="alice"))["tasks"]
    assert [task["status"] for task in tasks] == ["AVAILABLE"]
    checked_in = await client.data(
        "mutation { checkIn(input: {}) { ... on CheckInSuccess { streak pointsEarned"
        " balance { available } } } }",
        as_="alice",
    )
    assert checked_in["checkIn"] == {"streak": 1, "pointsEarned": 5, "balance": {"available": 95}}
    completed = await client.data(
        "mutation ($id: ID!) { completeTask(input: {taskId: $id}) { ... on CompleteTaskSuccess {"
        " pointsEarned task { status } balance { available } } } }",
        {"id": tasks[0]["id"]},
        as_="alice",
    )
    assert completed["completeTask"]["balance"] == {"available": 105}
    options = await client.data(
        "{ quickExchangeOptions { options { item { id } remainingPoints } } }", as_="alice"
    )
    item = options["quickExchangeOptions"]["options"][0]["item"]
    taken = await client.data(
        _EXCHANGE, {"input": {"itemId": item["id"], "idempotencyKey": "first"}}, as_="alice"
    )
    exchange = taken["oneClickExchange"]["exchange"]
    assert taken["oneClickExchange"]["remainingPoints"] == 5
    assert exchange["item"]["stock"] == 2
    assert sum(draw["points"] for draw in exchange["paidFrom"]) == 100
    history = await client.data(
        "{ exchanges { nodes { id status } } pointsHistory { nodes { action amount } } }",
        as_="alice",
    )
    assert history["exchanges"]["nodes"] == [{"id": exchange["id"], "status": "COMPLETED"}]
    assert history["pointsHistory"]["nodes"][0] == {"action": "REDEEM", "amount": -100}
