"""What a member says about themselves, and what the mall then speaks."""

import asyncio
from typing import Any

import pytest

from services.announcements import Announcement, noted
from services.mall import Mall
from services.transaction import transaction
from services.users.update_profile import ProfileChanges, update_profile
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, fingerprint_of_database
from tests.journeys.sockets import dial, exchange, greeting
from tests.serving import serving

UPDATE = """mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) {
  __typename
  ... on Problem { code message }
  ... on InvalidInput { field }
  ... on UpdateProfileSuccess { user { username avatarUrl locale timezone interests } }
} }"""
NO_TASK = (
    'mutation { completeTask(input: {taskId: "VGFzazo0NzEx"}) { ... on Problem { message } } }'
)
CHINESE, ENGLISH = "抱歉，没有找到您要的内容。", "This does not exist."


async def update(client: Client, **asked: Any) -> dict[str, Any]:
    """Change Alice's profile."""
    return (await client.data(UPDATE, {"input": asked}, as_="alice"))["updateProfile"]


async def spoken(client: Client) -> str:
    """What Alice is told."""
    return (await client.data(NO_TASK, as_="alice"))["completeTask"]["message"]


async def stored(mall: Mall) -> Any:
    """The columns of Alice's that a profile has."""
    columns = "avatar_url, locale, timezone, gender, birth_year, interests"
    return (await execute(mall, f"SELECT {columns} FROM users WHERE username = 'alice'"))[0]


FULL = {
    "avatarUrl": "https://cdn.test/头像.png?v=1",
    "locale": "en-gb",
    "timezone": "Europe/London",
    "gender": "UNDISCLOSED",
    "birthYear": 1990,
    "interests": ["读书", " tea ", "读书"],
}
STORED = (
    *("https://cdn.test/头像.png?v=1", "en-GB", "Europe/London", "undisclosed", 1990),
    ["读书", "tea"],
)


async def test_a_member_changes_everything_then_one_thing(mall: Mall, client: Client) -> None:
    """What is left out stays as it is."""
    assert (await update(client, **FULL))["user"] == {
        "username": "alice",
        "avatarUrl": STORED[0],
        "locale": "en-GB",
        "timezone": "Europe/London",
        "interests": ["读书", "tea"],
    }
    assert await stored(mall) == STORED
    await update(client, gender="FEMALE")
    await update(client)
    assert await stored(mall) == (*STORED[:3], "female", *STORED[4:])


async def test_what_may_be_empty_is_cleared_by_null(mall: Mall, client: Client) -> None:
    """Everything but the language and the time zone."""
    await update(client, **FULL)
    nothing = dict.fromkeys(("avatarUrl", "gender", "birthYear", "interests"))
    answer = await update(client, **nothing)
    assert (answer["user"]["avatarUrl"], answer["user"]["interests"]) == (None, [])
    assert await stored(mall) == (None, "en-GB", "Europe/London", None, None, [])


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (
            "avatarUrl",
            [
                *("", "x", "ftp://cdn.test/1", "javascript:alert(1)", "//cdn.test/1", "http://"),
                *("https://[x/", "https://cdn.test:99999/", "https://cdn.test/\n1", "https:///1"),
                *("https://cdn.test/ 1", "https://cdn.test/\x00", "https://cdn.test/" + "x" * 1984),
            ],
        ),
        ("locale", [None, "", "e", "en-", "中文", "x" * 99]),
        ("timezone", [None, "", "Mars/Olympus", "UTC+8", "asia/shanghai", "localtime", "../etc"]),
        ("birthYear", [1899, 2022, 0, -1, 2**31 - 1]),
        ("interests", [[""], [" "], ["x" * 51], ["a", "\x00"], [str(n) for n in range(51)]]),
    ],
)
async def test_one_bad_field_changes_nothing(
    mall: Mall, client: Client, field: str, values: list[Any]
) -> None:
    """The answer names it, in the member's language; the good fields are not written either."""
    await update(client, **FULL)
    before = await fingerprint_of_database(mall)
    for value in values:
        answer = await update(client, **{"gender": "MALE", "locale": "zh", field: value})
        assert (answer["code"], answer["field"]) == ("INVALID_INPUT", [field]), value
        assert answer["message"].isascii()
        assert not answer["message"].startswith("The request is not valid")
    assert await fingerprint_of_database(mall) == before


async def test_limits_are_included(mall: Mall, client: Client) -> None:
    """The longest address, the first and last year, 50 interests of 50 characters."""
    interests = [f"{number:050}" for number in range(50)]
    longest = "https://cdn.test/" + "x" * 1983
    for year in (1900, 2021):
        answer = await update(
            client, avatarUrl=longest, birthYear=year, interests=[*interests, interests[0]]
        )
        assert answer["user"]["interests"] == interests
    assert (await stored(mall))[4] == 2021


async def test_the_next_answer_speaks_the_new_language(client: Client) -> None:
    """The problems of the same request already, and of every later one."""
    assert await spoken(client) == CHINESE
    both = f"""mutation {{
      a: updateProfile(input: {{locale: "en"}}) {{ __typename }}
      {NO_TASK.removeprefix("mutation {")}"""
    answer = await client.data(both, as_="alice")
    assert answer["completeTask"]["message"] == ENGLISH
    assert await spoken(client) == ENGLISH
    await update(client, locale="fr")  # which the mall does not speak
    assert await spoken(client) == CHINESE


async def test_a_socket_speaks_the_new_language(client: Client) -> None:
    """The one over which it was chosen, from the next operation on."""

    async def ask(query: str) -> Any:
        message = {"id": "1", "type": "subscribe", "payload": {"query": query}}
        answer = await exchange(socket, message)
        await socket.recv()  # complete
        return answer["payload"]["data"]

    async with dial(client) as socket:
        await exchange(socket, greeting(client.token("alice")))
        assert (await ask(NO_TASK))["completeTask"]["message"] == CHINESE
        await ask('mutation { updateProfile(input: {locale: "en"}) { __typename } }')
        assert (await ask(NO_TASK))["completeTask"]["message"] == ENGLISH


async def test_another_process_follows_within_five_minutes(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """It remembers for as long who a token speaks for."""
    async with (
        serving(mall.settings, clock) as address,
        Client(address, client._secret) as elsewhere,
    ):
        assert await spoken(elsewhere) == CHINESE
        await update(client, locale="en")
        clock.advance(minutes=5)
        assert await spoken(elsewhere) == ENGLISH


async def test_changes_at_once_all_happen(mall: Mall, client: Client) -> None:
    """Each writes only what it was asked to."""
    await add_user(mall, "alice")
    await asyncio.gather(*(update(client, **{name: FULL[name]}) for name in FULL))
    assert await stored(mall) == STORED


async def test_the_rules_of_points_in_numbers_and_words(client: Client) -> None:
    """For anyone, in the language asked for; the words say the same numbers."""
    query = """{ pointsRules {
      defaultExpiry reminderDays extensionFeePercent extensionDays explanation
    } }"""
    rules = []
    for language in ("zh-CN", "en"):
        headers = {"Accept-Language": language}
        answer = await client.http.post("/graphql", json={"query": query}, headers=headers)
        rules.append(answer.json()["data"]["pointsRules"])
    texts = [(each.pop("defaultExpiry"), each.pop("explanation")) for each in rules]
    numbers = {"reminderDays": [7, 3, 1], "extensionFeePercent": 5.0, "extensionDays": 30}
    assert rules == [numbers, numbers]
    assert [expiry for expiry, _ in texts] == ["12 个月", "12 months"]
    for (expiry, explanation), facts in zip(
        texts, (["7、3和1", "5%", "30 天"], ["7, 3, and 1 days", "5%", "30 days"]), strict=True
    ):
        assert all(fact in explanation for fact in (expiry, *facts)), explanation


async def test_only_another_picture_is_announced(mall: Mall) -> None:
    """Whoever sends the whole profile again makes nobody read boards anew."""
    alice = await add_user(mall)
    one, other = "https://a.example/1.png", "https://a.example/2.png"
    steps: list[tuple[ProfileChanges, bool]] = [
        ({"avatar_url": None}, False),
        ({"avatar_url": one}, True),
        ({"avatar_url": one, "birth_year": 1990}, False),
        ({"birth_year": 1991}, False),
        ({"avatar_url": other}, True),
        ({"avatar_url": None}, True),
        ({}, False),
    ]
    for changes, is_announced in steps:
        async with transaction(mall.stores.write) as session:
            user = await update_profile(session, alice, changes, mall.clock(), mall.zone)
            noted_on_it = noted(session.info)
        assert noted_on_it == (Announcement(profiles=True) if is_announced else None), changes
        assert user.avatar_url == changes.get("avatar_url", user.avatar_url)
