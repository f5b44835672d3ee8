"""Captcha tokens, against a siteverify service on loopback."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from services.users.captcha import CaptchaUnavailable, CaptchaVerifier
from settings import CaptchaSettings


@dataclass
class SiteVerify:
    """What the widget gave out, what was asked, and how the service fares."""

    url: str = ""
    unused: set[str] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    pause_per_byte_s: float = 0.0

    def answer(self, form: dict[str, str]) -> dict[str, object]:
        if form.get("secret") != "s3cret":
            return {"success": False, "error-codes": ["invalid-input-secret"]}
        if form.get("response") not in self.unused:
            return {"success": False, "error-codes": ["timeout-or-duplicate"]}
        self.unused.remove(form["response"])
        return {"success": True, "challenge_ts": "2026-11-20T10:00:00Z", "hostname": "mall.test"}


@pytest.fixture
def service() -> Iterator[SiteVerify]:
    service = SiteVerify()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(sent).items()}
            service.asked.append(form)
            self.send_response(service.status)
            self.end_headers()
            with suppress(OSError):  # whoever asked has had enough of us
                for byte in service.body or json.dumps(service.answer(form)).encode():
                    time.sleep(service.pause_per_byte_s)
                    self.wfile.write(bytes([byte]))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}/siteverify"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield service
        server.shutdown()
        thread.join()


def settings(service: SiteVerify, **changes: object) -> CaptchaSettings:
    configured = {
        "captcha_secret": SecretStr("s3cret"),
        "captcha_site_key": "site",
        "captcha_verify_url": service.url,
        "captcha_timeout_s": 0.5,
    }
    return CaptchaSettings.model_validate({**configured, **changes})


async def passes(captcha: CaptchaSettings, token: str | None, address: str | None = None) -> bool:
    verifier = CaptchaVerifier(captcha)
    try:
        return await verifier.passes(token, address)
    finally:
        await verifier.aclose()


async def test_a_token_passes_once(service):
    service.unused = {"tick et&="}
    verifier = CaptchaVerifier(settings(service))
    assert await verifier.passes("tick et&=", "203.0.113.7")
    assert not await verifier.passes("tick et&=", None)
    assert not await verifier.passes("made up", None)
    await verifier.aclose()
    assert service.asked == [
        {"secret": "s3cret", "response": "tick et&=", "remoteip": "203.0.113.7"},
        {"secret": "s3cret", "response": "tick et&="},
        {"secret": "s3cret", "response": "made up"},
    ]


@pytest.mark.parametrize("token", [None, "", "x" * 2_049, "令牌", "\ud800"])
async def test_what_cannot_be_a_token_fails_without_a_call(service, token):
    assert not await passes(settings(service), token)
    assert service.asked == []


@pytest.mark.parametrize(
    ("provider", "longest"), [("turnstile", 2_048), ("hcaptcha", 16_384), ("recaptcha", 4_000)]
)
async def test_each_providers_longest_token_is_sent(service, provider, longest):
    service.unused = {"x" * longest}
    captcha = settings(service, captcha_provider=provider)
    assert await passes(captcha, "x" * longest)
    assert not await passes(captcha, "x" * (longest + 1))
    assert len(service.asked) == 1


@pytest.mark.parametrize("secret", [None, SecretStr("")])
async def test_without_a_secret_nothing_passes(service, secret):
    assert not await passes(settings(service, captcha_secret=secret), "ticket")
    assert service.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, None),
        (302, None),
        (400, b'{"success": false, "error-codes": ["bad-request"]}'),
        (200, b"<html>"),
        (200, b"\xff\xfe\xff"),
        (200, b"[true]"),
        (200, b"{}"),
        (200, b'{"success": "true"}'),
        (200, b'{"success": false, "error-codes": ["internal-error"]}'),
    ],
)
async def test_no_verdict_is_an_outage(service, status, body):
    service.status, service.body = status, body
    with pytest.raises(CaptchaUnavailable):
        await passes(settings(service), "ticket")


@pytest.mark.parametrize("codes", [[], None, [["x"], 7], ["invalid-input-response"]])
async def test_a_refusal_is_a_refusal_whatever_its_codes(service, codes):
    service.body = json.dumps({"success": False, "error-codes": codes}).encode()
    assert not await passes(settings(service), "ticket")


async def test_our_wrong_secret_is_not_held_against_the_member(service):
    with pytest.raises(CaptchaUnavailable, match="invalid-input-secret"):
        await passes(settings(service, captcha_secret=SecretStr("old")), "ticket")


@pytest.mark.parametrize("pause_s", [1.0, 0.1])
async def test_a_provider_that_hangs_or_drips_is_an_outage(service, pause_s):
    service.pause_per_byte_s = pause_s
    begun_s = time.perf_counter()
    with pytest.raises(CaptchaUnavailable):
        await passes(settings(service), "ticket")
    assert time.perf_counter() - begun_s < 2


async def test_a_provider_that_is_away_is_an_outage(service):
    away = settings(service, captcha_verify_url="http://127.0.0.1:1/siteverify")
    with pytest.raises(CaptchaUnavailable):
        await passes(away, "ticket")


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("turnstile", "https://challenges.cloudflare.com/turnstile/v0/siteverify"),
        ("hcaptcha", "https://api.hcaptcha.com/siteverify"),
        ("recaptcha", "https://www.google.com/recaptcha/api/siteverify"),
    ],
)
async def test_each_provider_is_asked_where_it_documents(provider, url):
    verifier = CaptchaVerifier(CaptchaSettings(captcha_provider=provider, captcha_site_key="site"))
    assert (verifier.provider, verifier.site_key, verifier._url) == (provider, "site", url)
    await verifier.aclose()


@pytest.mark.parametrize(
    ("said", "demanded", "expected"),
    [
        ({}, {}, True),
        ({"score": 0.5}, {}, True),
        ({"score": 0.4}, {}, False),
        ({"score": 0.4}, {"captcha_min_score": 0.3}, True),
        ({"action": "check_in"}, {"captcha_action": "check_in"}, True),
        ({"action": "log_in"}, {"captcha_action": "check_in"}, False),
        ({}, {"captcha_action": "check_in"}, False),
        ({"hostname": "mall.test"}, {"captcha_hostnames": "a.test, mall.test"}, True),
        ({"hostname": "evil.test"}, {"captcha_hostnames": "a.test, mall.test"}, False),
        ({}, {"captcha_hostnames": "mall.test"}, False),
    ],
)
async def test_success_has_to_be_about_us(
    service: SiteVerify, said: dict[str, object], demanded: dict[str, object], *, expected: bool
) -> None:
    """Sure enough, for this widget, on a page of ours."""
    service.body = json.dumps({"success": True, **said}).encode()
    assert await passes(settings(service, **demanded), "token") is expected
