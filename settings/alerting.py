"""How operators are told of alerts."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings

from settings.environment import CONFIG

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class AlertingSettings(BaseSettings):
    """Where operators are told when something is wrong, and from which numbers on it is.

    A channel without an address is not used; alerts are logged in any case. Addresses of webhooks
    are secrets: who has one can write there.
    """

    model_config = CONFIG

    alert_webhook_url: SecretStr | None = None
    alert_webhook_secret: SecretStr | None = None
    alert_dingtalk_url: SecretStr | None = None
    alert_dingtalk_secret: SecretStr | None = None
    alert_slack_url: SecretStr | None = None
    alert_mail_to: str = ""
    alert_mail_from: str | None = None
    alert_smtp_host: str | None = None
    alert_smtp_port: int = Field(default=587, ge=1, le=65535)
    alert_smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    alert_smtp_username: str | None = None
    alert_smtp_password: SecretStr | None = None
    alert_ca_file: Path | None = None
    alert_timeout_s: float = Field(default=5.0, gt=0, le=20)
    alert_thresholds: dict[str, float] = Field(default_factory=dict[str, float])

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, field: ValidationInfo) -> object:
        found = cls.model_fields[str(field.field_name)]
        return found.get_default(call_default_factory=True) if value == "" else value

    @field_validator("alert_webhook_url", "alert_dingtalk_url", "alert_slack_url")
    @classmethod
    def _is_encrypted(cls, url: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(url.get_secret_value()) if url else None
        if parts is None:
            return url
        is_encrypted = parts.scheme == "https"
        is_here = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not parts.hostname or not (is_encrypted or is_here):
            raise ValueError("must begin with https://")
        return url

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.alert_webhook_url and not self.alert_webhook_secret:
            raise ValueError("MALL_ALERT_WEBHOOK_URL needs MALL_ALERT_WEBHOOK_SECRET to sign with")
        if self.mail_recipients and not (self.alert_smtp_host and self.alert_mail_from):
            raise ValueError(
                "MALL_ALERT_MAIL_TO needs MALL_ALERT_SMTP_HOST and MALL_ALERT_MAIL_FROM"
            )
        is_here = self.alert_smtp_host in _LOOPBACK
        if self.alert_smtp_host and self.alert_smtp_security == "none" and not is_here:
            raise ValueError("MALL_ALERT_SMTP_SECURITY must be starttls or tls")
        return self

    @property
    def mail_recipients(self) -> tuple[str, ...]:
        """Who gets mail about alerts."""
        return tuple(filter(None, map(str.strip, self.alert_mail_to.split(","))))
