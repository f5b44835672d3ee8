"""What an operation may be, how much of it, and from where."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from settings.environment import CONFIG


class GraphQLSettings(BaseSettings):
    """What an operation may be, how much of it, and from where."""

    model_config = CONFIG

    max_cost: int = Field(default=5_000, ge=1)
    request_timeout_s: float = Field(default=10.0, gt=0)
    introspection: bool | None = None
    safelist: Literal["off", "log", "enforce"] = "off"
    safelist_file: Path | None = None
    csrf_guard: bool = True
