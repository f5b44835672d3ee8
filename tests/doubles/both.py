"""Both doubles, with the credentials that they take and the settings that lead to them."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from settings import NotificationSettings
from tests.doubles.apns import ApnsDouble
from tests.doubles.certificates import Certificates, make_certificates, private_pem
from tests.doubles.fcm import FcmDouble
from tests.doubles.listening import Record

PROJECT, ACCOUNT = "points-mall", "mall@points-mall.iam.gserviceaccount.com"
KEY_ID, TEAM_ID, TOPIC = "ABC123DEFG", "TEAM456789", "test.points.mall"


@dataclass(frozen=True)
class Doubles:
    """FCM and APNs on loopback."""

    fcm: FcmDouble
    apns: ApnsDouble
    directory: Path
    certificates: Certificates

    def values(self) -> dict[str, Any]:
        """The settings that lead to the doubles, by the names of NotificationSettings."""
        return {
            "fcm_service_account_file": str(self.directory / "service-account.json"),
            "fcm_endpoint": self.fcm.url,
            "apns_key_file": str(self.directory / "AuthKey.p8"),
            "apns_key_id": KEY_ID,
            "apns_team_id": TEAM_ID,
            "apns_topic": TOPIC,
            "apns_endpoint": self.apns.url,
            "push_ca_file": str(self.certificates.ca_file),
        }

    def settings(self, **changes: Any) -> NotificationSettings:
        """Settings that lead to the doubles, with shorter limits than real ones."""
        limits = {"push_connect_timeout_s": 2.0, "push_timeout_s": 2.0}
        return NotificationSettings.model_validate({**self.values(), **limits, **changes})


@asynccontextmanager
async def both_doubles(
    directory: Path,
    clock: Callable[[], float] = time.time,
    record_file: Path | None = None,
) -> AsyncIterator[Doubles]:
    """Run both in this event loop until the block ends; keys are written into `directory`."""
    certificates = make_certificates(directory)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    fcm_record, apns_record = Record(record_file), Record(record_file)
    tls = certificates.server_context("http/1.1")
    fcm = FcmDouble(tls, PROJECT, ACCOUNT, rsa_key.public_key(), fcm_record, clock)
    tls = certificates.server_context("h2")
    apns = ApnsDouble(tls, ec_key.public_key(), KEY_ID, TEAM_ID, TOPIC, apns_record, clock)
    await fcm.start()
    await apns.start()
    (directory / "AuthKey.p8").write_bytes(private_pem(ec_key))
    (directory / "service-account.json").write_text(json.dumps(_account(rsa_key, fcm.url)))
    try:
        yield Doubles(fcm, apns, directory, certificates)
    finally:
        await fcm.stop()
        await apns.stop()
        fcm_record.close()
        apns_record.close()


def _account(key, url: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "0123456789abcdef",
        "private_key": private_pem(key).decode(),
        "client_email": ACCOUNT,
        "client_id": "100000000000000000000",
        "token_uri": f"{url}/token",
        "universe_domain": "googleapis.com",
    }
