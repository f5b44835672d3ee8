"""What an operation may be, how much of it, and from where."""

from pydantic import Field
from pydantic_settings import BaseSettings

from settings.environment import CONFIG


class GraphQLSettings(BaseSettings):
    """What an operation may be, how much of it, and from where."""

    model_config = CONFIG

    max_cost: int = Field(default=5_000, ge=1)
