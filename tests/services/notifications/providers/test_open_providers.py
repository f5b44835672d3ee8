"""Which providers there are, by the credentials the settings give."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from services.notifications.open import open_providers
from services.notifications.providers import PushMessage
from settings import NotificationSettings, SettingsError
from tests.doubles.both import Doubles
from tests.doubles.certificates import private_pem

APNS = ("apns_key_file", "apns_key_id", "apns_team_id", "apns_topic")


async def test_without_credentials_there_is_nobody() -> None:
    """Then pushes are recorded, not sent; empty variables are none."""
    nothing = NotificationSettings.model_validate({"apns_key_id": "", "apns_key_file": ""})
    async with open_providers(nothing) as providers:
        assert providers == {}


async def test_each_platform_has_its_provider(doubles: Doubles) -> None:
    """Android and the web share one, with its threads and its breaker."""
    async with open_providers(doubles.settings()) as providers:
        assert set(providers) == {"android", "web", "ios"}
        assert providers["android"] is providers["web"]
    without_apns = dict.fromkeys(APNS, "")
    async with open_providers(doubles.settings(**without_apns)) as providers:
        assert set(providers) == {"android", "web"}
    async with open_providers(doubles.settings(fcm_service_account_file="")) as providers:
        assert set(providers) == {"ios"}


@pytest.mark.parametrize("missing", APNS)
async def test_half_of_the_credentials_of_apns_stops_the_start(
    doubles: Doubles, missing: str
) -> None:
    """With a sentence that names all of them."""
    with pytest.raises(SettingsError, match="MALL_APNS_KEY_FILE, MALL_APNS_KEY_ID"):
        async with open_providers(doubles.settings(**{missing: ""})):
            pass


def _write_account(path: Path, **changes: object) -> None:
    account = json.loads((path / "service-account.json").read_text()) | changes
    (path / "changed").write_text(json.dumps(account))


@pytest.mark.parametrize("changes", [{"private_key": "no key"}, {"project_id": None}])
async def test_a_broken_service_account_stops_the_start(
    doubles: Doubles, changes: dict[str, object]
) -> None:
    """Not the first push."""
    _write_account(doubles.directory, **changes)
    settings = doubles.settings(fcm_service_account_file=doubles.directory / "changed")
    with pytest.raises(SettingsError, match="MALL_FCM_SERVICE_ACCOUNT_FILE"):
        async with open_providers(settings):
            pass


@pytest.mark.parametrize("content", [b"[]", b"{}", b"\xff\xfe", b"\x00", b"not json"])
async def test_a_file_that_is_no_key_stops_the_start(doubles: Doubles, content: bytes) -> None:
    """Whichever of them it is named for."""
    file = doubles.directory / "changed"
    file.write_bytes(content)
    for name in ("fcm_service_account_file", "apns_key_file"):
        with pytest.raises(SettingsError, match=f"MALL_{name.upper()}"):
            async with open_providers(doubles.settings(**{name: file})):
                pass


@pytest.mark.parametrize("name", ["fcm_service_account_file", "apns_key_file", "push_ca_file"])
async def test_a_file_that_is_not_there_stops_the_start(doubles: Doubles, name: str) -> None:
    """By the name of its setting."""
    absent = doubles.directory / "absent"
    with pytest.raises(SettingsError, match=f"MALL_{name.upper()}"):
        async with open_providers(doubles.settings(**{name: absent})):
            pass


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65_537, 2_048)]
)
async def test_a_key_that_is_not_apples_stops_the_start(doubles: Doubles, key: object) -> None:
    """APNs knows ES256 and nothing else."""
    file = doubles.directory / "other.p8"
    file.write_bytes(private_pem(key))
    with pytest.raises(SettingsError, match=r"not a \.p8 key"):
        async with open_providers(doubles.settings(apns_key_file=file)):
            pass


@pytest.mark.parametrize("url", ["http://fcm.test", "fcm.test", "https://", "https://f.test/?a=1"])
@pytest.mark.parametrize("name", ["fcm_endpoint", "apns_endpoint"])
def test_an_endpoint_that_is_not_encrypted_is_refused(name: str, url: str) -> None:
    """Tokens go there."""
    with pytest.raises(ValidationError):
        NotificationSettings.model_validate({name: url})


@pytest.mark.parametrize("collapse_id", ["", "x" * 65, "a b", "a\n", "期"])
def test_a_collapse_id_that_no_provider_takes_is_refused(collapse_id: str) -> None:
    """It is ours to choose, so this is a mistake of ours."""
    with pytest.raises(ValueError, match="visible ASCII"):
        PushMessage("token", "t", "b", {}, collapse_id)
