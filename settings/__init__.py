"""What an operator may set, one typed group per concern.

Every setting is an environment variable with the prefix ``MALL_``. The groups are built once, at
the edge, and passed in. The numbers of a rule (how long points live, what a streak pays) are not
here: they live beside the capability that applies them.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from settings.alerting import AlertingSettings as AlertingSettings
from settings.environment import CONFIG as _CONFIG
from settings.graphql import GraphQLSettings as GraphQLSettings
from settings.limits import LimitSettings as LimitSettings
from settings.observation import ObservationSettings as ObservationSettings
from settings.sharing import SharingSettings as SharingSettings

_SHORTEST_SECRET_BYTES = 32  # RFC 7518, 3.2: HS256 wants a key of at least its digest's size


class SettingsError(Exception):
    """The settings contradict each other or lack what the profile requires."""


class MallSettings(BaseSettings):
    """What kind of mall this is and where its day begins."""

    model_config = _CONFIG

    profile: Literal["dev", "production"] = "production"
    timezone: str = "Asia/Shanghai"

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("is not the name of a time zone")
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The zone whose midnight ends a day of the mall."""
        return ZoneInfo(self.timezone)


class StoreSettings(BaseSettings):
    """Where PostgreSQL and Redis are and how long anything may wait for them.

    Without a URL the embedded servers in ``data_dir`` are used.
    """

    model_config = _CONFIG

    database_url: str | None = None
    redis_url: str | None = None
    data_dir: Path = Path(".data")
    database_pool_size: int = Field(default=10, ge=4)
    database_pool_wait_s: float = Field(default=2.0, gt=0)
    database_connect_timeout_s: float = Field(default=2.0, gt=0)
    database_statement_timeout_s: float = Field(default=10.0, gt=0)
    database_lock_timeout_s: float = Field(default=1.0, gt=0)
    redis_timeout_s: float = Field(default=1.0, gt=0)

    @field_validator("database_url")
    @classmethod
    def _names_the_driver(cls, url: str | None) -> str | None:
        # A bare postgresql:// means psycopg to SQLAlchemy, and asyncpg says ssl for sslmode;
        # operators paste what they have.
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
            raise ValueError("must begin with postgresql://")
        names = [(name.replace("sslmode", "ssl"), value) for name, value in parse_qsl(parts.query)]
        return parts._replace(scheme="postgresql+asyncpg", query=urlencode(names)).geturl()

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return url

    def unhurried(self) -> "StoreSettings":
        """The same without limits in practice: for commands that read or change everything."""
        day_s = 86_400.0
        limits = {"database_statement_timeout_s": day_s, "database_lock_timeout_s": day_s}
        return self.model_copy(update=limits)


class AccessSettings(BaseSettings):
    """How bearer tokens are checked: a shared secret (HS256) or a key set (RS256, ES256)."""

    model_config = _CONFIG

    jwt_secret: SecretStr | None = None
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_leeway_s: float = Field(default=5.0, ge=0)
    jwks_cache_s: float = Field(default=300.0, gt=0)
    jwks_timeout_s: float = Field(default=3.0, gt=0)

    @field_validator("jwt_secret")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if not secret or not secret.get_secret_value():
            return None  # set to nothing is not set
        if len(secret.get_secret_value().encode()) < _SHORTEST_SECRET_BYTES:
            raise ValueError(f"needs at least {_SHORTEST_SECRET_BYTES} bytes")
        return secret


class CaptchaSettings(BaseSettings):
    """Who tells people from scripts, through the siteverify protocol.

    Without a secret nothing can be verified, so whatever demands verification is refused.
    """

    model_config = _CONFIG

    captcha_provider: Literal["turnstile", "hcaptcha", "recaptcha"] = "turnstile"
    captcha_site_key: str | None = None
    captcha_secret: SecretStr | None = None
    captcha_verify_url: str | None = None
    captcha_timeout_s: float = Field(default=3.0, gt=0)
    captcha_check_in: bool = False
    captcha_min_score: float = Field(default=0.5, ge=0, le=1)
    captcha_action: str | None = None
    captcha_hostnames: str = ""

    @property
    def hostnames(self) -> frozenset[str]:
        """On whose pages the widget may stand; none: on any."""
        return frozenset(filter(None, map(str.strip, self.captcha_hostnames.split(","))))


class ServerSettings(BaseSettings):
    """How the web processes listen and what they refuse to read."""

    model_config = _CONFIG

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    processes: int = Field(default=1, ge=1)
    max_body_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    socket_frame_max_bytes: int = Field(default=64 * 1024, gt=0)
    allowed_origins: str = ""
    connections_per_user: int = Field(default=20, ge=1)
    connections_per_address: int = Field(default=500, ge=1)
    send_timeout_s: float = Field(default=20.0, gt=0)
    ping_interval_s: float = Field(default=20.0, gt=0)
    ping_timeout_s: float = Field(default=20.0, gt=0)
    trusted_proxies: str | None = None
    graphiql: bool | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, proxies: str | None) -> str | None:
        # uvicorn takes anything else for a name that no proxy ever has, and says nothing.
        for proxy in filter(None, map(str.strip, (proxies or "").split(","))):
            if proxies != "*":
                (ip_network if "/" in proxy else ip_address)(proxy)
        return proxies

    @property
    def origins(self) -> tuple[str, ...]:
        """Whose pages may open WebSockets besides those of the mall's own origin; `*` is any."""
        return tuple(filter(None, map(str.strip, self.allowed_origins.split(","))))


class JobSettings(BaseSettings):
    """Where jobs are queued and how workers run them. Without a broker's URL Redis is it."""

    model_config = _CONFIG

    broker_url: str | None = None
    worker_threads: int = Field(default=4, ge=1)
    job_resend_s: float = Field(default=60.0, gt=0)

    @field_validator("broker_url")
    @classmethod
    def _is_broker(cls, url: str | None) -> str | None:
        known = ("redis", "rediss", "unix", "amqp", "amqps")
        if url is not None and urlsplit(url).scheme not in known:
            raise ValueError("must begin with redis://, rediss://, unix://, amqp:// or amqps://")
        return url


class NotificationSettings(BaseSettings):
    """Who delivers pushes: FCM to Android and the web, APNs to iOS.

    A provider without credentials is not used; its pushes are recorded, not sent.
    """

    model_config = _CONFIG

    fcm_service_account_file: Path | None = None
    fcm_endpoint: str = "https://fcm.googleapis.com"
    fcm_threads: int = Field(default=16, ge=1, le=256)
    apns_key_file: Path | None = None
    apns_key_id: str | None = None
    apns_team_id: str | None = None
    apns_topic: str | None = None
    apns_endpoint: str = "https://api.push.apple.com"
    apns_streams: int = Field(default=100, ge=1, le=100)  # httpx2 opens no more on a connection
    push_ca_file: Path | None = None
    push_connect_timeout_s: float = Field(default=3.0, gt=0)
    push_timeout_s: float = Field(default=10.0, gt=0)
    push_lifetime_s: int = Field(default=86_400, ge=0, le=2_419_200)  # FCM keeps none longer
    push_breaker_failures: int = Field(default=5, ge=1)
    push_breaker_open_s: float = Field(default=30.0, gt=0)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, field: ValidationInfo) -> object:
        # "" as a path would be the current directory.
        return cls.model_fields[str(field.field_name)].default if value == "" else value

    @field_validator("fcm_endpoint", "apns_endpoint")
    @classmethod
    def _is_encrypted(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must begin with https://")
        return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Settings:
    """All groups, built once and passed in."""

    mall: MallSettings
    stores: StoreSettings
    access: AccessSettings
    captcha: CaptchaSettings
    notifications: NotificationSettings
    server: ServerSettings
    jobs: JobSettings = field(default_factory=JobSettings)
    sharing: SharingSettings = field(default_factory=SharingSettings)
    graphql: GraphQLSettings = field(default_factory=GraphQLSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    observation: ObservationSettings = field(default_factory=ObservationSettings)
    alerting: AlertingSettings = field(default_factory=AlertingSettings)

    @property
    def public_url(self) -> str:
        """Where the public reaches the mall; no slash at its end.

        Never what a request says of its host: whoever sends one could have links lead elsewhere.
        """
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        return self.sharing.public_url or f"http://{host}:{self.server.port}"


def load_settings() -> Settings:
    """Read every group from the environment.

    Raises ``pydantic.ValidationError`` for a value that is no good.
    """
    return Settings(
        mall=MallSettings(),
        stores=StoreSettings(),
        access=AccessSettings(),
        captcha=CaptchaSettings(),
        notifications=NotificationSettings(),
        server=ServerSettings(),
        jobs=JobSettings(),
        sharing=SharingSettings(),
        graphql=GraphQLSettings(),
        limits=LimitSettings(),
        observation=ObservationSettings(),
        alerting=AlertingSettings(),
    )


def require_access(settings: Settings) -> None:
    """Raise SettingsError when no token could ever be checked."""
    if settings.access.jwt_secret is None and settings.access.jwks_url is None:
        raise SettingsError("set MALL_JWT_SECRET or MALL_JWKS_URL: without them no token is valid")
