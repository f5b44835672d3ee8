"""Mail about alerts goes out encrypted, to a server that proves who it is, or not at all."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.monitoring.alerts import Telling
from services.monitoring.mail import mail_notice
from services.monitoring.notices import Notice
from services.monitoring.webhooks import NotDelivered
from settings import AlertingSettings
from tests.doubles.certificates import Certificates, make_certificates
from tests.doubles.mail_server import PASSWORD, USERNAME, MailServer

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
NOTICE = Notice(
    delivery_id="delivery",
    telling=Telling.RAISED,
    told_at="2026-11-20T08:00:00Z",
    alert={
        "id": "alert",
        "kind": "dead_jobs",
        "severity": "high",
        "message": "3 jobs were given up",
        "facts": {"failed_jobs": 3},
        "firstSeenAt": "2026-11-20T07:59:00Z",
        "lastSeenAt": "2026-11-20T08:00:00Z",
        "occurrences": 3,
    },
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("mail"))


def mailing(
    server: MailServer, *, ca_file: Path | None, password: str = PASSWORD
) -> AlertingSettings:
    """Settings that tell operators by that server."""
    return AlertingSettings.model_validate(
        {
            "alert_mail_to": "operators@example.com",
            "alert_mail_from": "mall@example.com",
            "alert_smtp_host": "127.0.0.1",
            "alert_smtp_port": server.port,
            "alert_smtp_security": "tls" if server.is_implicit else "starttls",
            "alert_smtp_username": USERNAME,
            "alert_smtp_password": password,
            "alert_ca_file": ca_file,
        }
    )


@pytest.mark.parametrize("is_implicit", [True, False])
async def test_mail_is_encrypted_before_anything_is_told(
    certificates: Certificates, *, is_implicit: bool
) -> None:
    async with MailServer(certificates.server_context(), is_implicit) as server:
        await mail_notice(NOTICE, mailing(server, ca_file=certificates.ca_file), NOW)
    (mail,) = server.mails
    assert "Subject: [HIGH] dead_jobs raised" in mail
    assert "3 jobs were given up" in mail
    assert server.said == ([] if is_implicit else ["EHLO", "STARTTLS"])


@pytest.mark.parametrize("is_implicit", [True, False])
async def test_a_server_that_proves_nothing_gets_nothing(
    certificates: Certificates, *, is_implicit: bool
) -> None:
    """Its authority is none that is trusted: neither password nor mail is told to it."""
    async with MailServer(certificates.server_context(), is_implicit) as server:
        with pytest.raises(NotDelivered, match="SSLCertVerificationError"):
            await mail_notice(NOTICE, mailing(server, ca_file=None), NOW)
    assert server.mails == []
    assert "AUTH" not in server.said


async def test_a_wrong_password_is_told_without_it(certificates: Certificates) -> None:
    async with MailServer(certificates.server_context(), is_implicit=False) as server:
        settings = mailing(server, ca_file=certificates.ca_file, password="wrong")
        with pytest.raises(NotDelivered, match="SMTPAuthenticationError 535") as raised:
            await mail_notice(NOTICE, settings, NOW)
    assert "wrong" not in str(raised.value)
    assert server.mails == []
