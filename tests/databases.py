"""Databases for tests that need them elsewhere than in a fixture of one test."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from pydantic import SecretStr
from sqlalchemy import make_url

from settings import (
    AccessSettings,
    CaptchaSettings,
    LimitSettings,
    MallSettings,
    NotificationSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)

SECRET = "a secret that signs nothing but tests"


@asynccontextmanager
async def migrated_database() -> AsyncIterator[str]:
    """The URL of a migrated, empty database, until the block ends."""
    given = make_url(os.environ["TEST_DATABASE_URL"])
    name = f"test_{uuid4().hex}"
    administrator = await asyncpg.connect(
        given.set(drivername="postgresql").render_as_string(hide_password=False)
    )
    try:
        await administrator.execute(f"CREATE DATABASE {name} TEMPLATE mall_template")
        yield given.set(database=name).render_as_string(hide_password=False)
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


def settings_of(
    database_url: str, *, redis_url: str | None = None, timezone: str = "Asia/Shanghai"
) -> Settings:
    """A production mall on that database and, unless told otherwise, the run's Redis."""
    redis_url = redis_url or os.environ["TEST_REDIS_URL"]
    return Settings(
        mall=MallSettings(timezone=timezone),
        stores=StoreSettings(database_url=database_url, redis_url=redis_url),
        access=AccessSettings(jwt_secret=SecretStr(SECRET)),
        captcha=CaptchaSettings(),
        notifications=NotificationSettings(),
        server=ServerSettings(log_level="warning"),
        # Tests ask, and earn, faster than people.
        limits=LimitSettings(rate_limit_factor=1_000, gains_held_above=0, invites_held_above=0),
    )
