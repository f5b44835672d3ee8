"""What the operator is told of a process: metrics, lines of the log, traces."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from settings.environment import CONFIG

_SHORTEST_TOKEN_BYTES = 16


class ObservationSettings(BaseSettings):
    """Who may read `/metrics`, where workers serve theirs, and what is logged and traced.

    Without a token a web process serves `/metrics` in the dev profile only. `metrics_port` is where
    workers and schedulers serve theirs, 0 for nowhere. Processes that share `metrics_dir` are read
    at any one of them.
    """

    model_config = CONFIG

    metrics_token: SecretStr | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)
    metrics_dir: Path | None = None
    access_log: bool = True
    otlp_endpoint: str | None = None
    trace_share: float = Field(default=1.0, ge=0, le=1)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, field: ValidationInfo) -> object:
        # "" as a path would be the current directory.
        return cls.model_fields[str(field.field_name)].default if value == "" else value

    @field_validator("metrics_token")
    @classmethod
    def _is_long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value().encode()) < _SHORTEST_TOKEN_BYTES:
            raise ValueError(f"needs at least {_SHORTEST_TOKEN_BYTES} bytes")
        return token

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_of_the_web(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url
