"""Where every group of settings is read from."""

from pydantic_settings import SettingsConfigDict

CONFIG = SettingsConfigDict(env_prefix="MALL_", frozen=True, extra="ignore")
