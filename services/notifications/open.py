"""The providers that the settings give credentials for."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.auth.exceptions import GoogleAuthError
from google.oauth2.service_account import Credentials

from services.notifications.apns import ApnsChannel
from services.notifications.apns_token import ApnsKey
from services.notifications.breaker import Breaker, OutageListener, unheard
from services.notifications.delivery import Delivery
from services.notifications.fcm import FCM_SCOPES, FcmChannel
from services.notifications.providers import Platform, PushChannel, PushProvider
from settings import NotificationSettings, SettingsError


@asynccontextmanager
async def open_providers(
    settings: NotificationSettings,
    unix_clock: Callable[[], float] = time.time,
    steady_clock: Callable[[], float] = time.monotonic,
    on_outage: OutageListener = unheard,
) -> AsyncGenerator[Mapping[Platform, PushProvider]]:
    """Who delivers for which platform; a platform without credentials is absent.

    Connects to nothing before the first push. `on_outage` is told of a provider that is down.
    Raises SettingsError when credentials are incomplete or cannot be read.
    """
    fcm, apns = _fcm_channel(settings, unix_clock), _apns_channel(settings, unix_clock)
    failures, open_s = settings.push_breaker_failures, settings.push_breaker_open_s

    def guarded(name: str, channel: PushChannel, concurrency: int) -> PushProvider:
        breaker = Breaker(name, failures, open_s, steady_clock, on_outage)
        return Delivery(channel, breaker, concurrency)

    providers: dict[Platform, PushProvider] = {}
    async with AsyncExitStack() as stack:
        if fcm is not None:
            provider = guarded("fcm", fcm, settings.fcm_threads)
            stack.push_async_callback(provider.aclose)
            providers |= {"android": provider, "web": provider}
        if apns is not None:
            provider = guarded("apns", apns, settings.apns_streams)
            stack.push_async_callback(provider.aclose)
            providers |= {"ios": provider}
        yield providers


def _fcm_channel(settings: NotificationSettings, clock: Callable[[], float]) -> FcmChannel | None:
    file = settings.fcm_service_account_file
    if file is None:
        return None
    _require_ca_file(settings)
    try:
        credentials = Credentials.from_service_account_file(str(file), scopes=FCM_SCOPES)
    except (OSError, ValueError, AttributeError, GoogleAuthError) as error:
        raise SettingsError(
            f"MALL_FCM_SERVICE_ACCOUNT_FILE: {file} is no key of a service account: {error}"
        ) from error
    if not credentials.project_id:
        raise SettingsError(f"MALL_FCM_SERVICE_ACCOUNT_FILE: {file} names no project_id")
    return FcmChannel(settings, credentials, clock)


def _apns_channel(settings: NotificationSettings, clock: Callable[[], float]) -> ApnsChannel | None:
    file, key_id = settings.apns_key_file, settings.apns_key_id
    team_id, topic = settings.apns_team_id, settings.apns_topic
    if not (file or key_id or team_id or topic):
        return None
    if not (file and key_id and team_id and topic):
        raise SettingsError(
            "set all of MALL_APNS_KEY_FILE, MALL_APNS_KEY_ID, MALL_APNS_TEAM_ID and"
            " MALL_APNS_TOPIC, or none of them: APNs takes no push without all four"
        )
    _require_ca_file(settings)
    return ApnsChannel(settings, topic, ApnsKey(_read_key(file), key_id, team_id), clock)


def _read_key(file: Path) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"MALL_APNS_KEY_FILE: {file} cannot be read: {error}") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise SettingsError(f"MALL_APNS_KEY_FILE: {file} is not a .p8 key (ES256) of Apple's")
    return key


def _require_ca_file(settings: NotificationSettings) -> None:
    if settings.push_ca_file is not None and not settings.push_ca_file.is_file():
        raise SettingsError(f"MALL_PUSH_CA_FILE: there is no file {settings.push_ca_file}")
