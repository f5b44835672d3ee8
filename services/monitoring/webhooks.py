"""Telling operators by HTTP: signed JSON to anybody, DingTalk's and Slack's own formats."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote_plus

import httpx2
import orjson
from pydantic import SecretStr

from services.monitoring.notices import Channel, Notice
from settings import AlertingSettings

_LARGEST_ANSWER_BYTES = 65_536
_TEXT_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


class NotDelivered(Exception):
    """A channel did not take a notice; the text holds no address: those are secrets."""


async def post_notice(
    channel: Channel, notice: Notice, settings: AlertingSettings, now: datetime
) -> None:
    """Hand a notice to a webhook; raises NotDelivered unless it says that it took it."""
    url, body, headers = _REQUESTS[channel](notice, settings, now)
    try:
        async with asyncio.timeout(settings.alert_timeout_s):
            status, answer = await _post(url, body, headers, settings)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
        raise NotDelivered(f"{channel}: {type(error).__name__}") from None
    if not 200 <= status < 300:  # noqa: PLR2004 — as RFC 9110 numbers successes
        raise NotDelivered(f"{channel} answered {status}")
    if channel is Channel.DINGTALK:
        _require_dingtalk_took_it(answer)


def signature(secret: SecretStr, timestamp: str, body: bytes) -> str:
    """What proves that the mall sent the body at that time: `sha256=` and the HMAC in hex."""
    key = secret.get_secret_value().encode()
    signed = hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


async def _post(
    url: str, body: bytes, headers: dict[str, str], settings: AlertingSettings
) -> tuple[int, bytes]:
    """The status and the beginning of the answer; redirects lead nowhere we would go."""
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
    async with (
        httpx2.AsyncClient(
            timeout=settings.alert_timeout_s, verify=trust(settings), follow_redirects=False
        ) as client,
        client.stream("POST", url, content=body, headers=sent) as answer,
    ):
        read = b""
        async for piece in answer.aiter_raw():
            read += piece
            if len(read) > _LARGEST_ANSWER_BYTES:
                break
        return answer.status_code, read


def trust(settings: AlertingSettings) -> ssl.SSLContext:
    """Whom channels believe to be who they say."""
    return ssl.create_default_context(cafile=settings.alert_ca_file)


_Request = tuple[str, bytes, dict[str, str]]


def _signed_json(notice: Notice, settings: AlertingSettings, now: datetime) -> _Request:
    assert settings.alert_webhook_url and settings.alert_webhook_secret  # noqa: S101, PT018
    body = orjson.dumps(
        {
            "deliveryId": notice.delivery_id,
            "event": f"alert.{notice.telling}",
            "toldAt": notice.told_at,
            "alert": notice.published,
        }
    )
    timestamp = str(int(now.timestamp()))
    headers = {
        "Mall-Delivery": notice.delivery_id,
        "Mall-Timestamp": timestamp,
        "Mall-Signature": signature(settings.alert_webhook_secret, timestamp, body),
    }
    return settings.alert_webhook_url.get_secret_value(), body, headers


def _dingtalk(notice: Notice, settings: AlertingSettings, now: datetime) -> _Request:
    assert settings.alert_dingtalk_url  # noqa: S101 — else the channel is not used
    url = settings.alert_dingtalk_url.get_secret_value()
    if settings.alert_dingtalk_secret:
        url += ("&" if "?" in url else "?") + _dingtalk_signature(
            settings.alert_dingtalk_secret, now
        )
    # Two spaces before a line's end: DingTalk's Markdown runs lines together otherwise.
    text = f"#### {notice.title}\n\n" + notice.text.replace("\n", "  \n")
    text += f"  \nDelivery {notice.delivery_id}"
    body = {"msgtype": "markdown", "markdown": {"title": notice.title, "text": text}}
    return url, orjson.dumps(body), {}


def _dingtalk_signature(secret: SecretStr, now: datetime) -> str:
    """`timestamp` (ms) and `sign`, as DingTalk's robots ask for."""
    key, timestamp = secret.get_secret_value(), str(int(now.timestamp() * 1000))
    signed = hmac.new(key.encode(), f"{timestamp}\n{key}".encode(), hashlib.sha256).digest()
    return f"timestamp={timestamp}&sign={quote_plus(base64.b64encode(signed))}"


def _require_dingtalk_took_it(answer: bytes) -> None:
    """DingTalk answers 200 whatever it makes of it; whether it took it stands in `errcode`."""
    try:
        said: Any = orjson.loads(answer)
    except orjson.JSONDecodeError:
        said = None
    code = cast("dict[str, Any]", said).get("errcode") if isinstance(said, dict) else None
    if code != 0:
        raise NotDelivered(f"{Channel.DINGTALK} answered errcode {str(code)[:20]}")


def _slack(notice: Notice, settings: AlertingSettings, _now: datetime) -> _Request:
    assert settings.alert_slack_url  # noqa: S101 — else the channel is not used
    text = f"{notice.title}\n{notice.text}\nDelivery {notice.delivery_id}"
    body = orjson.dumps({"text": text.translate(_TEXT_ESCAPES)})
    return settings.alert_slack_url.get_secret_value(), body, {}


_REQUESTS = {
    Channel.WEBHOOK: _signed_json,
    Channel.DINGTALK: _dingtalk,
    Channel.SLACK: _slack,
}
