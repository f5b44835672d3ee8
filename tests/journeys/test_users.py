"""Operators find members by the beginning of what is known of them."""

from datetime import timedelta
from typing import Any

import pytest

from services.mall import Mall
from services.paging import encode_cursor
from services.transaction import transaction
from services.users.erase import erase_user
from services.users.search import search_users
from tests.client import Client
from tests.factories import add_user, execute, give_points

USERS = """query ($search: String, $first: Int, $after: String) {
  users(search: $search, first: $first, after: $after) {
    edges { cursor node { username } } nodes { username }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""
DEEP = """{ users { nodes {
  username checkInStreak vip { level } balance { available expiringSoon }
} } }"""


async def ask(client: Client, query: str = USERS, **variables: Any) -> dict[str, Any]:
    """The whole answer, as an operator gets it."""
    return await client.post(query, variables, client.token("olga", "operator"))


async def found(client: Client, search: str | None) -> list[str]:
    """The names that a search finds, in order."""
    answer = await ask(client, search=search)
    assert "errors" not in answer, answer
    return [node["username"] for node in answer["data"]["users"]["nodes"]]


@pytest.fixture
async def members(mall: Mall, client: Client) -> None:
    """Olga and five members; who has what is in the tests."""
    await client.user_id("olga", "operator")
    await add_user(mall, "sub-1", username="Alice", email="Alice@Mall.test", phone="+8613800000001")
    await add_user(mall, "sub-2", username="ALICIA", email="zoe@mall.test")
    await add_user(mall, "Ali|3", username="李雷", phone="13811111111")
    await add_user(mall, "x_4%", username="Österreich", email="100%@mall.test")
    await add_user(mall, "x-5", username="\U0010fffd end")


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("ali", ["Alice", "ALICIA", "李雷"]),
        ("ALIC", ["Alice", "ALICIA"]),
        (" alice ", ["Alice"]),
        ("alice@", ["Alice"]),
        ("lice", []),
        ("sub-", ["Alice", "ALICIA"]),
        ("SUB-2", ["ALICIA"]),
        ("ali|3", ["李雷"]),
        ("李", ["李雷"]),
        ("ÖSTER", ["Österreich"]),
        ("öster", ["Österreich"]),
        ("+86138", ["Alice"]),
        ("138", ["李雷"]),
        ("%", []),
        ("_", []),
        ("100%", ["Österreich"]),
        ("x_4%", ["Österreich"]),
        ("x_", ["Österreich"]),
        ("\U0010fffd", ["\U0010fffd end"]),
        ("nobody", []),
        ("'; DROP TABLE users", []),
        ("x" * 255, []),
    ],
)
async def test_a_search_is_for_beginnings_in_any_case(
    client: Client, search: str, names: list[str]
) -> None:
    """Of the name, the external id, the e-mail and the phone; whatever is typed is no pattern."""
    assert await found(client, search) == names


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("search", [None, "", "  "])
async def test_without_a_search_everybody_is_listed(client: Client, search: str | None) -> None:
    """Newest first."""
    everybody = ["\U0010fffd end", "Österreich", "李雷", "ALICIA", "Alice", "olga"]
    assert await found(client, search) == everybody


@pytest.mark.usefixtures("members")
async def test_somebody_who_matches_twice_is_found_once(mall: Mall, client: Client) -> None:
    """By every column at once."""
    await add_user(mall, "bob", email="bob@mall.test", phone="bob")
    assert await found(client, "bob") == ["bob"]


@pytest.mark.usefixtures("members")
async def test_who_was_erased_is_not_found(mall: Mall, client: Client) -> None:
    """Neither by what they were nor by what they are now, nor in the list."""
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "sub-1", mall.clock(), timezone="Asia/Shanghai")
    assert await found(client, "alice") == []
    assert await found(client, "erased") == []
    assert "erased-2" not in await found(client, None)


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize(("search", "order"), [(None, "6543210"), ("m", "0123456")])
async def test_pages_do_not_shift(
    mall: Mall, client: Client, search: str | None, order: str
) -> None:
    """Every page goes on where the one before ended, whoever joins meanwhile before it."""
    names = [f"m{number}" for number in order]
    for number in range(7):
        await add_user(mall, f"m{number}")
    first = (await ask(client, search=search, first=3))["data"]["users"]
    assert [node["username"] for node in first["nodes"]] == names[:3]
    assert [edge["node"] for edge in first["edges"]] == first["nodes"]
    info = first["pageInfo"]
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    assert [info["startCursor"], info["endCursor"]] == [
        first["edges"][0]["cursor"],
        first["edges"][2]["cursor"],
    ]
    await add_user(mall, "m")
    second = (await ask(client, search=search, first=3, after=info["endCursor"]))["data"]["users"]
    assert [node["username"] for node in second["nodes"]] == names[3:6]
    assert second["pageInfo"]["hasPreviousPage"] is True
    end = second["pageInfo"]["endCursor"]
    last = (await ask(client, search=search, first=3, after=end))["data"]["users"]
    assert last["nodes"][0]["username"] == names[6]
    if search:
        assert (len(last["nodes"]), last["pageInfo"]["hasNextPage"]) == (1, False)


TEXTS = ("Ann", "anna", "ann@mall.test", "bob", "ANNé", "1", "Ann")


async def test_who_is_found_by_several_texts_is_shown_once(mall: Mall) -> None:
    """At the first of them, whatever the size of a page; those of one text by their ids."""
    for number in range(40):
        name, email, phone = (TEXTS[number // step % 7] for step in (1, 3, 5))
        await add_user(mall, f"ann-{number}", username=name, email=email, phone=phone)
    folded = await execute(
        mall,
        "SELECT min(lower(sought COLLATE pg_c_utf8) COLLATE pg_c_utf8) AS first, id"
        " FROM users, unnest(ARRAY[username, external_id, email, phone]) sought"
        " WHERE starts_with(lower(sought COLLATE pg_c_utf8), 'ann') GROUP BY id ORDER BY 1, 2",
    )
    assert len(folded) == 40
    for size in (1, 2, 7, 39, 40, 100):
        seen: list[int] = []
        after, more = None, True
        while more:
            async with mall.stores.read() as session:
                page = await search_users(session, "ANN", size=size, after=after)
            assert 0 < len(page.rows) <= size
            seen += [user.id for user in page.rows]
            after, more = page.cursors[-1], page.has_next
        assert seen == [row.id for row in folded], size


async def test_a_cursor_holds_the_longest_text(mall: Mall) -> None:
    """Of letters that are longest in bytes; behind another search it leads nowhere else."""
    names = ["\U0001f600" * 254 + end for end in "ab"]
    for name in names:
        await add_user(mall, name, username="x")
    async with mall.stores.read() as session:
        first = await search_users(session, "\U0001f600", size=1, after=None)
        rest = await search_users(session, "\U0001f600", size=1, after=first.cursors[0])
        other = await search_users(session, "\U0001f601", size=1, after=first.cursors[0])
    assert [len(page.rows) for page in (first, rest, other)] == [1, 1, 0]
    assert rest.rows[0].id == first.rows[0].id + 1
    assert (first.has_next, rest.has_next) == (True, False)


async def test_bad_questions_are_bad_input(client: Client) -> None:
    """Sizes, cursors, and what nothing stored could match."""
    for bad in (
        *({"first": 0}, {"first": 101}, {"after": "x"}, {"after": "WyJsb3RzIiwxXQ"}),
        {"search": "m", "after": encode_cursor("users", 1)},
        {"search": "m", "after": encode_cursor("users found", "m\x00", 1)},
        *({"search": "x" * 256}, {"search": "a\x00"}),
    ):
        refused = await ask(client, **bad)
        assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", bad


async def test_what_is_shown_of_each_is_theirs(mall: Mall, client: Client) -> None:
    """Balances, memberships and streaks are read for all at once, and not mixed up."""
    for number in range(3):
        user_id = await add_user(mall, f"m{number}")
        await give_points(mall, user_id, 10 + number, expires_at=mall.clock() + timedelta(days=3))
        end = mall.clock() + timedelta(days=9)
        sql = "INSERT INTO user_vip (user_id, level, expires_at) VALUES (:u, :l, :e)"
        await execute(mall, sql, u=user_id, l=number + 1, e=end)
    nodes = (await ask(client, DEEP))["data"]["users"]["nodes"]
    seen = {node["username"]: (node["vip"], node["balance"]["available"]) for node in nodes}
    await execute(mall, "DELETE FROM user_vip")
    assert seen == {
        "olga": ([], 0),
        **{f"m{number}": ([{"level": number + 1}], 10 + number) for number in range(3)},
    }


async def test_the_largest_page_of_a_search(mall: Mall) -> None:
    """A prefix that everybody shares is cut to the page, not to what some index gave first."""
    for number in range(30):
        await add_user(mall, f"m{number}")
    async with mall.stores.read() as session:
        page = await search_users(session, "m", size=20, after=None)
    assert [user.username for user in page.rows] == sorted(f"m{n}" for n in range(30))[:20]
    assert page.has_next


async def test_the_lots_of_each_are_theirs(mall: Mall, client: Client) -> None:
    """Page by page and counted, for all at once; a bad cursor is bad input."""
    for number in range(3):
        user_id = await add_user(mall, f"m{number}")
        for lot in range(number + 1):
            ends = mall.clock() + timedelta(days=1 + lot)
            await give_points(mall, user_id, 10 * number + lot + 1, expires_at=ends)
    lots = "nodes { points } totalCount pageInfo { hasNextPage endCursor }"
    query = f"{{ users(search: %s) {{ nodes {{ balance {{ lots(first: 2%s) {{ {lots} }} }} }} }} }}"
    pages = [
        node["balance"]["lots"]
        for node in (await ask(client, query % ('"m"', "")))["data"]["users"]["nodes"]
    ]
    assert [[node["points"] for node in page["nodes"]] for page in pages] == [
        *([1], [11, 12], [21, 22]),
    ]
    assert [page["totalCount"] for page in pages] == [1, 2, 3]
    assert [page["pageInfo"]["hasNextPage"] for page in pages] == [False, False, True]
    after = f', after: "{pages[2]["pageInfo"]["endCursor"]}"'
    [rest] = (await ask(client, query % ('"m2"', after)))["data"]["users"]["nodes"]
    assert [node["points"] for node in rest["balance"]["lots"]["nodes"]] == [23]
    bad = await ask(client, query % ('"m2"', ', after: "x"'))
    assert bad["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
