"""Members share what they like: one link for each thing, whoever asks how often."""

import asyncio
from datetime import timedelta

import pytest

from models.sharing import ShareKind
from schema.ids import encode_id
from services.mall import Mall
from services.sharing.create import MOST_NEW_A_DAY, ShareRequest, create_share
from services.sharing.links import ALPHABET, CODE_LENGTH
from services.sharing.shares import MOST_LISTED
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, fingerprint_of_database
from tests.sharing import add_share, create, follow, own


@pytest.fixture(autouse=True)
async def alice(mall: Mall) -> int:
    """Alice, who signed in before."""
    return await add_user(mall, "alice", last_login_at=mall.clock())


async def test_each_kind_has_one_link(mall: Mall, client: Client, clock: MovableClock) -> None:
    """An item, the own rank, an invite; asking again gives the same, and it is listed once."""
    item = encode_id("ExchangeItem", await add_item(mall))
    made = {}
    for kind, target in (("ITEM", item), ("RANK", None), ("INVITE", None)):
        clock.advance(seconds=1)
        made[kind] = (await create(client, "alice", kind, target))["share"]
        assert (await create(client, "alice", kind, target))["share"] == made[kind]
    assert await own(client, "alice") == [made["INVITE"], made["RANK"], made["ITEM"]]
    invite = made["INVITE"]
    assert (invite["kind"], invite["createdAt"]) == ("INVITE", "2026-11-20T04:00:03Z")
    assert invite["url"] == f"http://127.0.0.1:8000/s/{invite['code']}"
    assert (invite["visits"], invite["conversions"], invite["pointsEarned"]) == (0, 0, 0)
    assert len(invite["code"]) == CODE_LENGTH
    assert set(invite["code"]) <= set(ALPHABET)


async def test_members_have_links_of_their_own(mall: Mall, client: Client) -> None:
    """To the same item too; nobody sees those of others."""
    item = encode_id("ExchangeItem", await add_item(mall))
    hers = (await create(client, "alice", "ITEM", item))["share"]
    his = (await create(client, "bob", "ITEM", item))["share"]
    assert hers["code"] != his["code"]
    assert [share["id"] for share in await own(client, "bob")] == [his["id"]]


async def test_only_what_is_there_can_be_shared(mall: Mall, client: Client) -> None:
    """No item that is off or never was, no achievement nobody has; and nothing has changed."""
    off = encode_id("ExchangeItem", await add_item(mall, is_active=False))
    before = await fingerprint_of_database(mall)
    for kind, target in (
        ("ITEM", off),
        ("ITEM", encode_id("ExchangeItem", 4711)),
        ("ACHIEVEMENT", encode_id("Achievement", 4711)),
        ("ACHIEVEMENT", encode_id("Achievement", 1)),
    ):
        refused = await create(client, "alice", kind, target)
        assert (refused["code"], refused["id"]) == ("NOT_FOUND", target)
    assert await fingerprint_of_database(mall) == before


async def test_a_target_belongs_to_its_kind(mall: Mall, client: Client) -> None:
    """None where one is needed, and one where there is none."""
    item = encode_id("ExchangeItem", await add_item(mall))
    before = await fingerprint_of_database(mall)
    for kind, target in (("ITEM", None), ("ACHIEVEMENT", None), ("RANK", item), ("INVITE", item)):
        refused = await create(client, "alice", kind, target)
        assert (refused["code"], refused["field"]) == ("INVALID_INPUT", ["targetId"])
        assert refused["message"] == "分享商品或成就时须指明对象，其他分享无需指明。"
    assert await fingerprint_of_database(mall) == before


async def test_a_day_has_room_for_so_many_new_links(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Then those there are can be asked for still, and new ones at the mall's midnight."""
    for number in range(MOST_NEW_A_DAY - 1):
        await add_share(mall, alice, ShareKind.ACHIEVEMENT, number)
    invite = (await create(client, "alice", "INVITE"))["share"]
    refused = await create(client, "alice", "RANK")
    assert (refused["code"], refused["limit"], refused["period"]) == ("LIMIT_REACHED", 50, "DAY")
    assert refused["availableAgainAt"] == "2026-11-20T16:00:00Z"
    assert refused["message"] == "每天最多可创建 50 个新的分享链接，已创建的链接仍然有效。"
    assert (await create(client, "alice", "INVITE"))["share"] == invite
    clock.advance(hours=12)
    assert (await create(client, "alice", "RANK"))["__typename"] == "CreateShareSuccess"


async def test_many_at_once_make_one_link_and_keep_the_cap(
    mall: Mall, client: Client, alice: int
) -> None:
    """20 requests for the same thing; then 20 for different ones with room for 5."""
    answers = await asyncio.gather(*(create(client, "alice", "INVITE") for _ in range(20)))
    assert len({answer["share"]["code"] for answer in answers}) == 1
    for number in range(MOST_NEW_A_DAY - 6):
        await add_share(mall, alice, ShareKind.ACHIEVEMENT, number)
    items = [encode_id("ExchangeItem", await add_item(mall)) for _ in range(20)]
    outcomes = await asyncio.gather(*(create(client, "alice", "ITEM", item) for item in items))
    kinds = [outcome["__typename"] for outcome in outcomes]
    assert sorted(kinds) == ["CreateShareSuccess"] * 5 + ["LimitReached"] * 15


async def test_the_newest_hundred_are_listed(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Newest first."""
    for number in range(MOST_LISTED + 2):
        moment = clock.now + timedelta(seconds=number)
        await add_share(mall, alice, ShareKind.ACHIEVEMENT, number, created_at=moment)
    rows = await execute(mall, "SELECT code FROM shares ORDER BY created_at DESC LIMIT 100")
    assert [share["code"] for share in await own(client, "alice")] == [row.code for row in rows]


async def test_a_code_that_is_taken_is_made_anew(mall: Mall, alice: int) -> None:
    """However unlikely it is."""
    bob = await add_user(mall, "bob")
    taken = (await add_share(mall, bob, ShareKind.INVITE)).code
    codes = iter([taken, taken, "ABCDEFGHJK"])
    async with transaction(mall.stores.write) as session:
        asked = ShareRequest(alice, ShareKind.INVITE, None)
        share = await create_share(
            session, asked, mall.clock(), mall.zone, make_code=lambda: next(codes)
        )
    assert share.code == "ABCDEFGHJK"


async def test_erasing_takes_what_was_shown_to_others(
    mall: Mall, client: Client, alice: int
) -> None:
    """A link that invites stays, for invites are of the books, and says nothing any more."""
    item = encode_id("ExchangeItem", await add_item(mall))
    links = [
        (await create(client, "alice", kind, target))["share"]
        for kind, target in (("ITEM", item), ("RANK", None), ("INVITE", None))
    ]
    async with transaction(mall.stores.write) as session:
        assert await erase_user(session, "alice", mall.clock(), timezone="Asia/Shanghai")
    for link in links:
        answer = await follow(client, link["code"])
        assert answer.status_code == 404
        assert "alice" not in answer.text
    assert await execute(mall, "SELECT user_id, kind FROM shares") == [(alice, "invite")]
    before = await fingerprint_of_database(mall)
    create_again = (
        "mutation { createShare(input: {kind: RANK}) { ... on CreateShareSuccess"
        " { share { id } } } }"
    )
    # The process remembers whose token it is.
    assert await client.error_code(create_again, as_="alice") == "UNAUTHENTICATED"
    assert await fingerprint_of_database(mall) == before


async def test_an_id_of_something_else_is_no_target(mall: Mall, client: Client) -> None:
    """Refused as every id of the wrong kind is."""
    query = """mutation ($id: ID!) {
      createShare(input: {kind: ITEM, targetId: $id}) { __typename } }"""
    wrong = {"id": encode_id("Achievement", "x")}
    assert await client.error_code(query, wrong, as_="alice") == "BAD_USER_INPUT"
