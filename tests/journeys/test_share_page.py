"""`/s/{code}`: a page that previews understand, that leads people on, and that counts them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from models.sharing import ShareKind
from schema.ids import encode_id
from services.mall import Mall
from services.sharing.visits import VISITORS_AN_ADDRESS, Visit, count_visits
from services.transaction import transaction
from settings import Settings, SharingSettings, StoreSettings
from tests.boards import build
from tests.client import Client
from tests.clock import MovableClock
from tests.conftest import SECRET
from tests.factories import add_item, add_user, execute, fingerprint_of_database, give_points
from tests.jobs.asking import until
from tests.serving import serving
from tests.sharing import add_share, create, follow

FRONT_END = "https://app.test/open?code={code}&kind={kind}&target={target}"
HOSTILE = """"><script>alert(1)</script><meta http-equiv='refresh' content='0;url=//evil'>&amp;"""
PREVIEWERS = (
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Twitterbot/1.0",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "TelegramBot (like TwitterBot)",
    "WhatsApp/2.23.20.0",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; +http://www.linkedin.com)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; DingTalkBot-LinkService/1.0)",
    "curl/8.14.1",
    "python-httpx2/1.0",
    "",
)


@pytest.fixture(autouse=True)
async def _no_boards(mall: Mall) -> None:
    """None that another test has left in Redis."""
    await mall.stores.redis.flushdb()


class Page(HTMLParser):
    """What a browser, or whoever shows a preview, reads of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.meta: dict[str, str] = {}
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.title = ""
        self._is_title = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what matters of a tag."""
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self._is_title = tag == "title"
        if tag == "meta" and "content" in given:
            name = given.get("property") or given.get("name") or given.get("http-equiv") or ""
            assert name not in self.meta, name
            self.meta[name] = given["content"]
        elif tag == "a":
            self.links.append(given["href"])
        elif tag == "img":
            self.pictures.append(given["src"])

    def handle_endtag(self, tag: str) -> None:
        """A title ends."""
        self._is_title = self._is_title and tag != "title"

    def handle_data(self, data: str) -> None:
        """Text of the title."""
        self.title += data if self._is_title else ""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mall that the public knows by another name, with a front end."""
    sharing = SharingSettings(public_url="https://mall.test/", front_end_url=FRONT_END)
    return replace(settings, sharing=sharing)


@pytest.fixture(autouse=True)
async def alice(mall: Mall) -> int:
    """Alice, who shares."""
    return await add_user(mall, "alice", username="Alice & Co", last_login_at=mall.clock())


async def share(mall: Mall, user_id: int, kind: ShareKind, target: int | None = None) -> str:
    """The code of a new link."""
    return (await add_share(mall, user_id, kind, target)).code


async def visits(mall: Mall) -> int:
    """How many visits all links count."""
    return (await execute(mall, "SELECT sum(visits)::bigint AS visits FROM shares"))[0].visits


async def test_an_item_is_shown_with_its_picture(mall: Mall, client: Client) -> None:
    """Its name, price and picture, in tags of Open Graph; people are led to the front end."""
    item = await add_item(
        mall, name="咖啡杯", points=1_200, image_url="https://cdn.test/mug.png?a=1&b=2"
    )
    target = encode_id("ExchangeItem", item)
    made = (await create(client, "alice", "ITEM", target))["share"]
    code = made["code"]
    assert made["url"] == f"https://mall.test/s/{code}"
    answer = await follow(client, code)
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/html; charset=utf-8",
    )
    page = Page(answer.text)
    leads_to = f"https://app.test/open?code={code}&kind=item&target={target}"
    assert page.title == "咖啡杯"
    assert page.meta == {
        "viewport": "width=device-width, initial-scale=1",
        "robots": "noindex",
        "og:type": "website",
        "og:site_name": "积分商城",
        "og:locale": "zh_CN",
        "og:title": "咖啡杯",
        "og:description": "只需 1,200 积分即可兑换。",
        "og:url": made["url"],
        "og:image": "https://cdn.test/mug.png?a=1&b=2",
        "og:image:alt": "咖啡杯",
        "description": "只需 1,200 积分即可兑换。",
        "twitter:card": "summary_large_image",
        "twitter:title": "咖啡杯",
        "twitter:description": "只需 1,200 积分即可兑换。",
        "twitter:image": "https://cdn.test/mug.png?a=1&b=2",
        "refresh": f"0; url={leads_to}",
    }
    assert (page.links, page.pictures) == ([leads_to], ["https://cdn.test/mug.png?a=1&b=2"])


@pytest.mark.parametrize(
    ("kind", "language", "title", "description"),
    [
        (ShareKind.RANK, "zh", "Alice & Co 正在冲击排行榜", "来赚取积分，看看您能排第几。"),
        (
            ShareKind.RANK,
            "en-GB,en;q=0.9",
            "Alice & Co is climbing the leaderboard",
            "Earn points and see how far you get.",
        ),
        (
            ShareKind.INVITE,
            "en",
            "Alice & Co invites you to the points mall",
            "Join, complete your first task and get 50 points.",
        ),
        (
            ShareKind.INVITE,
            "fr",
            "Alice & Co 邀请您加入积分商城",
            "加入并完成首个任务，即可获得 50 积分。",
        ),
    ],
)
async def test_each_kind_speaks_the_visitors_language(
    mall: Mall,
    client: Client,
    alice: int,
    kind: ShareKind,
    language: str,
    title: str,
    description: str,
) -> None:
    """By the public name of whoever shares; Chinese in doubt. Without a picture, a small card."""
    code = await share(mall, alice, kind)
    answer = await follow(client, code, accept_language=language)
    page = Page(answer.text)
    assert (page.title, page.meta["og:title"]) == (title, title)
    assert page.meta["og:description"] == description
    assert (page.meta["twitter:card"], page.pictures) == ("summary", [])
    assert page.meta["refresh"].endswith(f"?code={code}&kind={kind}&target=")
    assert answer.headers["content-language"] == ("en" if "en" in language else "zh-CN")


async def test_an_achievement_is_shown_by_who_has_it(
    mall: Mall, client: Client, alice: int
) -> None:
    """By its name, in the visitor's language; with its badge, once it has one."""
    rows = await execute(
        mall,
        "UPDATE achievements SET badge_url = 'https://cdn.test/badge.png'"
        " WHERE key = 'first_exchange' RETURNING id",
    )
    achievement_id = rows[0].id
    code = (await add_share(mall, alice, ShareKind.ACHIEVEMENT, achievement_id)).code
    page = Page((await follow(client, code)).text)
    assert page.title == "Alice & Co 解锁了成就“初次兑换”"
    assert page.pictures == ["https://cdn.test/badge.png"]
    english = Page((await follow(client, code, accept_language="en")).text)
    assert english.title == "Alice & Co has unlocked “First exchange”"
    target = encode_id("Achievement", achievement_id)
    assert page.meta["refresh"].endswith(f"&kind=achievement&target={target}")


async def test_a_rank_is_shown_as_it_is(mall: Mall, client: Client, alice: int) -> None:
    """That of all time, now; nothing of it while the member stands nowhere."""
    code = await share(mall, alice, ShareKind.RANK)
    assert Page((await follow(client, code)).text).title == "Alice & Co 正在冲击排行榜"
    await give_points(mall, await add_user(mall, "bob"), 20)
    await give_points(mall, alice, 10)
    await mall.movements.told()
    await build(mall)
    assert Page((await follow(client, code)).text).title == "Alice & Co 位列排行榜第 2 名"


async def test_what_others_wrote_stays_text(mall: Mall, client: Client) -> None:
    """Names of items and members, and addresses of pictures, cannot leave their places."""
    eve = await add_user(mall, "eve", username=HOSTILE)
    item = await add_item(mall, name=HOSTILE, image_url=f"https://x/{HOSTILE}")
    scripted = await add_item(mall, image_url="javascript:alert(1)")
    plain = Page((await follow(client, await share(mall, eve, ShareKind.ITEM, scripted))).text)
    for kind, target in ((ShareKind.ITEM, item), (ShareKind.RANK, None), (ShareKind.INVITE, None)):
        answer = await follow(client, await share(mall, eve, kind, target))
        page = Page(answer.text)
        assert HOSTILE in page.title
        assert page.meta["og:title"] == page.title
        assert set(page.tags) <= {*plain.tags, "img"}
        assert page.meta["refresh"].startswith("0; url=https://app.test/open?")
        assert len(page.links) == 1
    assert (plain.pictures, plain.meta["twitter:card"]) == ([], "summary")


async def test_nothing_on_the_page_runs_or_stays(mall: Mall, client: Client, alice: int) -> None:
    """Headers of every page, found or not."""
    for code in (await share(mall, alice, ShareKind.RANK), "ABCDEFGHJK"):
        headers = (await follow(client, code)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src https: http:; base-uri 'none';")
        assert "script" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["vary"] == "accept-language"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("code", ["ABCDEFGHJK", "nonsense", "x" * 5_000, "%00" * 10, "%ff"])
async def test_a_link_that_is_none_is_a_page_too(client: Client, code: str) -> None:
    """404, in the visitor's language, and nothing that was asked with."""
    answer = await follow(client, code, accept_language="en")
    assert answer.status_code == 404
    assert Page(answer.text).title == "This link leads nowhere (any more)."


async def test_what_is_off_is_not_shown(mall: Mall, client: Client, alice: int) -> None:
    """An item that is off, an invite by somebody who is suspended: the mall alone."""
    item = await add_item(mall, name="秘密")
    codes = [
        await share(mall, alice, ShareKind.ITEM, item),
        await share(mall, alice, ShareKind.INVITE),
    ]
    await execute(mall, "UPDATE exchange_items SET is_active = false")
    await execute(mall, "UPDATE users SET suspended_until = '9999-12-31'")
    for code in codes:
        assert Page((await follow(client, code)).text).title == "积分商城"


async def test_a_link_works_however_it_is_typed(mall: Mall, client: Client, alice: int) -> None:
    """Codes have no small letters."""
    code = await share(mall, alice, ShareKind.RANK)
    page = Page((await follow(client, code.lower())).text)
    assert page.meta["og:url"] == f"https://mall.test/s/{code}"


async def test_other_methods_are_refused(mall: Mall, client: Client, alice: int) -> None:
    """There is nothing to send to a link."""
    code = await share(mall, alice, ShareKind.RANK)
    before = await fingerprint_of_database(mall)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await follow(client, code, method=method)).status_code == 405
    assert await fingerprint_of_database(mall) == before


async def test_visitors_count_once_a_day(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Of the mall; other browsers are other visitors, and another link counts for itself."""
    code, other = [await share(mall, alice, kind) for kind in (ShareKind.RANK, ShareKind.INVITE)]
    for _ in range(3):
        await follow(client, code)
    assert await visits(mall) == 1
    await follow(client, other)
    await follow(client, code, agent="Another browser")
    assert await visits(mall) == 3
    clock.advance(hours=11, minutes=59)
    await follow(client, code)
    assert await visits(mall) == 3
    clock.advance(minutes=1)  # midnight in Shanghai
    await follow(client, code)
    assert await visits(mall) == 4


async def test_machines_get_the_page_and_are_not_counted(
    mall: Mall, client: Client, alice: int
) -> None:
    """Previews, crawlers, programs, HEAD, and browsers that only look ahead."""
    code = await share(mall, alice, ShareKind.INVITE)
    before = await fingerprint_of_database(mall)
    seen = [await follow(client, code, agent=agent) for agent in PREVIEWERS]
    seen.append(await follow(client, code, sec_purpose="prefetch;prerender"))
    seen.append(await follow(client, code, purpose="preview"))
    head = await follow(client, code, method="HEAD")
    assert (head.status_code, head.text) == (200, "")
    assert {answer.text for answer in seen} == {seen[0].text}
    assert head.headers["content-length"] == str(len(seen[0].content))
    assert await fingerprint_of_database(mall) == before
    await follow(client, code)
    assert (await follow(client, code)).text == seen[0].text
    assert await visits(mall) == 1


async def test_a_flood_from_one_address_is_a_few_visitors(
    mall: Mall, client: Client, alice: int
) -> None:
    """Whatever names its browsers give themselves."""
    code = await share(mall, alice, ShareKind.RANK)
    answers = await asyncio.gather(
        *(follow(client, code, agent=f"Browser {number}") for number in range(200))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert VISITORS_AN_ADDRESS / 2 < await visits(mall) <= VISITORS_AN_ADDRESS


async def test_visits_that_meet_count_once(mall: Mall, alice: int) -> None:
    """40 batches at once, of the same 30 visitors of 5 links in any order: each counted once."""
    links = [
        (await add_share(mall, alice, ShareKind.ACHIEVEMENT, number)).id for number in range(5)
    ]
    came = [Visit(link, f"visitor {number}") for link in links for number in range(30)]

    async def count(part: list[Visit]) -> None:
        async with transaction(mall.stores.write) as session:
            await count_visits(session, part, clock=mall.clock, zone=mall.zone)

    batches = [came[number:] + came[:number] for number in range(0, 150, 4)]
    await asyncio.gather(*map(count, [*batches, *(batch[::-1] for batch in batches)]))
    counted = await execute(mall, "SELECT visits FROM shares")
    assert counted == [(30,)] * 5
    assert await execute(mall, "SELECT count(*) FROM share_visits") == [(150,)]


async def test_no_address_is_stored(mall: Mall, client: Client, alice: int) -> None:
    """A hash with the mall's salt, of another day another one."""
    code = await share(mall, alice, ShareKind.RANK)
    await follow(client, code)
    (row,) = await execute(mall, "SELECT share_visits::text AS said, visitor FROM share_visits")
    assert "127.0.0.1" not in row.said
    assert len(row.visitor) == 32
    other = "UPDATE erasure_salt SET salt = sha256(salt)"
    await execute(mall, other)
    await follow(client, code)
    assert await execute(mall, "SELECT count(DISTINCT visitor) FROM share_visits") == [(2,)]


@pytest.fixture
async def away(settings: Settings, clock: MovableClock) -> AsyncIterator[Client]:
    """A client of a mall whose database is away."""
    nowhere: dict[str, Any] = {"database_url": "postgresql://nobody@127.0.0.1:1/nothing"}
    stores = StoreSettings(**settings.stores.model_dump() | nowhere)
    elsewhere = replace(settings, stores=stores)
    async with serving(elsewhere, clock) as address, Client(address, SECRET) as client:
        yield client


async def test_while_the_database_is_away_a_page_says_so(away: Client) -> None:
    """503, to come again; a code that cannot be one is still told at once."""
    answer = await follow(away, "ABCDEFGHJK", accept_language="en")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert Page(answer.text).title.startswith("We cannot show this right now.")


async def test_a_visit_that_cannot_be_counted_yet_shows_the_page(
    mall: Mall, client: Client, alice: int
) -> None:
    """The link's row is held elsewhere: nobody waits for it, and it is counted afterwards."""
    code = await share(mall, alice, ShareKind.RANK)
    async with transaction(mall.stores.write) as session:
        connection = await session.connection()
        await connection.exec_driver_sql("SELECT FROM shares FOR UPDATE")
        assert (await follow(client, code)).status_code == 200

    async def is_counted() -> bool:
        return await visits(mall) == 1

    await until(is_counted)
