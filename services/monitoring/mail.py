"""Telling operators by mail."""

import asyncio
import smtplib
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

import structlog

from services.monitoring.notices import Channel, Notice
from services.monitoring.webhooks import NotDelivered, trust
from settings import AlertingSettings

_log = structlog.get_logger(__name__)


async def mail_notice(notice: Notice, settings: AlertingSettings, now: datetime) -> None:
    """Send a notice to all who get mail; raises NotDelivered unless the server took it.

    A thread of its own for each: smtplib waits, and a slow server must hold up nobody else.
    """
    client = _client(settings)
    thread = ThreadPoolExecutor(1, thread_name_prefix="alert-mail")
    sending = asyncio.get_running_loop().run_in_executor(
        thread, _send, client, _message(notice, settings, now), settings
    )
    try:
        async with asyncio.timeout(settings.alert_timeout_s):
            await asyncio.shield(sending)
    except TimeoutError:
        sending.add_done_callback(_forget)
        raise NotDelivered(f"{Channel.MAIL}: TimeoutError") from None
    finally:
        # Its limits are per step: what drips would hold the thread, and the process at its end.
        _cut(client)
        thread.shutdown(wait=False, cancel_futures=True)


def _client(settings: AlertingSettings) -> smtplib.SMTP:
    """A client that has not connected yet, so that it can be cut off from outside."""
    timeout_s = settings.alert_timeout_s
    if settings.alert_smtp_security == "tls":
        return smtplib.SMTP_SSL(timeout=timeout_s, context=trust(settings))
    return smtplib.SMTP(timeout=timeout_s)


def _send(client: smtplib.SMTP, message: EmailMessage, settings: AlertingSettings) -> None:
    assert settings.alert_smtp_host  # noqa: S101 — else there are no recipients
    try:
        # smtplib itself takes the name for TLS from its constructor, where it would connect.
        client._host = settings.alert_smtp_host  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]
        client.connect(settings.alert_smtp_host, settings.alert_smtp_port)
        if settings.alert_smtp_security == "starttls":
            client.starttls(context=trust(settings))
        if settings.alert_smtp_username and settings.alert_smtp_password:
            client.login(
                settings.alert_smtp_username, settings.alert_smtp_password.get_secret_value()
            )
        refused = client.send_message(message)
        with suppress(smtplib.SMTPException, OSError):  # it has taken it
            client.quit()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        code = getattr(error, "smtp_code", "")
        raise NotDelivered(f"{Channel.MAIL}: {type(error).__name__} {code}".rstrip()) from None
    if refused:  # the others have it: sending it again would not help these
        _log.warning("alert_mail_refused", recipients=len(refused))


def _message(notice: Notice, settings: AlertingSettings, now: datetime) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = notice.title
    message["From"] = settings.alert_mail_from
    message["To"] = ", ".join(settings.mail_recipients)
    message["Date"] = format_datetime(now)
    # The same at every attempt: mail programs show a repeat once.
    message["Message-ID"] = f"<{notice.delivery_id}@points-mall.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(notice.text)
    return message


def _cut(client: smtplib.SMTP) -> None:
    """Wake whoever waits for the server, in whatever step."""
    connected = client.sock
    if connected is not None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


def _forget(sending: "asyncio.Future[None]") -> None:
    if not sending.cancelled():
        sending.exception()
