"""Captcha: what demands one is refused without a token and done with one, once."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from services.mall import Mall
from settings import CaptchaSettings
from tests.client import Client
from tests.factories import add_item, add_task, add_user, fingerprint_of_database, give_points
from tests.journeys.steps import check_in, complete, exchange

DEMANDING = {"verification": True}


class SiteVerify(ThreadingHTTPServer):
    """A siteverify service that knows some tokens, each good for once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.unused: set[str] = set()
        self.asked: list[dict[str, str]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: SiteVerify

    def do_POST(self) -> None:
        """Vouch for an unused token sent with the right secret."""
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(sent).items()}
        self.server.asked.append(form)
        known = form.get("secret") == "s3cret" and form.get("response") in self.server.unused
        self.server.unused.discard(form.get("response", ""))
        body = {"success": known, "error-codes": [] if known else ["timeout-or-duplicate"]}
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[SiteVerify]:
    """A provider on loopback, on a thread of its own."""
    with SiteVerify() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def captcha(provider: SiteVerify) -> CaptchaSettings:
    """A mall that asks this provider, at check-in too."""
    return CaptchaSettings(
        captcha_provider="hcaptcha",
        captcha_site_key="site-key",
        captcha_secret=SecretStr("s3cret"),
        captcha_verify_url=f"http://127.0.0.1:{provider.server_port}/siteverify",
        captcha_check_in=True,
    )


async def attempt(mall: Mall, client: Client, what: str, **token: str | None) -> dict[str, object]:
    """One of the three things that can demand a captcha."""
    if what == "checkIn":
        return await check_in(client, "alice", **token)
    if what == "completeTask":
        return await complete(client, "alice", 1, **token)
    return await exchange(client, "alice", 1, **token)


@pytest.fixture
async def demanding(mall: Mall) -> None:
    """A member with points, and a task and an item that demand a captcha."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    await give_points(mall, user_id, 500)
    assert await add_task(mall, config=DEMANDING) == 1
    assert await add_item(mall, config={"note": "", **DEMANDING}) == 1


EVERYTHING = pytest.mark.parametrize("what", ["checkIn", "completeTask", "oneClickExchange"])


@EVERYTHING
@pytest.mark.usefixtures("demanding")
async def test_without_a_good_token_verification_is_required(
    mall: Mall, client: Client, provider: SiteVerify, what: str
) -> None:
    """None, an empty one, or one the provider does not know; it is said whom to ask."""
    before = await fingerprint_of_database(mall)
    for token in (None, "", "made up", "令牌", "\x00", "x" * 20_000):
        refused = await attempt(mall, client, what, verificationToken=token)
        assert refused["__typename"] == "VerificationRequired"
        assert refused["code"] == "VERIFICATION_REQUIRED"
        assert (refused["provider"], refused["siteKey"]) == ("hcaptcha", "site-key")
    assert [form["response"] for form in provider.asked] == ["made up", "\x00"]
    assert await fingerprint_of_database(mall) == before


@EVERYTHING
@pytest.mark.usefixtures("demanding")
async def test_with_a_token_it_is_done(
    mall: Mall, client: Client, provider: SiteVerify, what: str
) -> None:
    """The provider is asked once, with the secret and the member's address."""
    provider.unused = {"ticket"}
    done = await attempt(mall, client, what, verificationToken="ticket")
    assert str(done["__typename"]).endswith("Success")
    assert provider.asked == [
        {"secret": "s3cret", "response": "ticket", "remoteip": "127.0.0.1"},
    ]


@EVERYTHING
@pytest.mark.usefixtures("demanding")
async def test_without_a_verdict_the_service_is_unavailable(
    mall: Mall, client: Client, provider: SiteVerify, what: str
) -> None:
    """An outage of the provider is not the member's fault, and nothing is done."""
    provider.status = 503
    before = await fingerprint_of_database(mall)
    field = what[0].upper() + what[1:]
    asked = {"checkIn": "", "completeTask": 'taskId: "VGFzazox", '}.get(
        what, 'itemId: "RXhjaGFuZ2VJdGVtOjE", idempotencyKey: "k", '
    )
    query = (
        f'mutation {field} {{ {what}(input: {{{asked}verificationToken: "t"}}) {{ __typename }} }}'
    )
    assert await client.error_code(query, as_="alice") == "SERVICE_UNAVAILABLE"
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("demanding")
async def test_a_replay_needs_no_new_token(
    mall: Mall, client: Client, provider: SiteVerify
) -> None:
    """A retry of a settled exchange, whose token is used up, gets the first answer."""
    provider.unused = {"ticket"}
    first = await exchange(client, "alice", 1, verificationToken="ticket")
    again = await exchange(client, "alice", 1, verificationToken="ticket")
    assert again == {**first, "replayed": True}


async def test_what_demands_nothing_takes_no_token(
    mall: Mall, client: Client, provider: SiteVerify
) -> None:
    """A task and an item without `verification` are open to everybody."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 100)
    assert "pointsEarned" in await complete(client, "alice", await add_task(mall))
    assert "pointsUsed" in await exchange(client, "alice", await add_item(mall))
    assert provider.asked == []
