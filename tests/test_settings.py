"""What operators paste is understood, or refused with a message."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from settings import (
    AccessSettings,
    AlertingSettings,
    MallSettings,
    ServerSettings,
    SharingSettings,
    StoreSettings,
)
from tests.databases import settings_of


@pytest.mark.parametrize(
    ("pasted", "understood"),
    [
        ("postgresql://u:p@db/mall", "postgresql+asyncpg://u:p@db/mall"),
        ("postgres://db/mall?sslmode=require", "postgresql+asyncpg://db/mall?ssl=require"),
        ("postgresql+asyncpg://u@/mall?host=%2Ftmp", "postgresql+asyncpg://u@/mall?host=%2Ftmp"),
    ],
)
def test_database_urls_are_read_as_they_are_pasted(pasted: str, understood: str) -> None:
    """The driver is named, and sslmode said as the driver says it."""
    assert StoreSettings(database_url=pasted).database_url == understood


@pytest.mark.parametrize(
    ("group", "values"),
    [
        (StoreSettings, {"database_url": "garbage"}),
        (StoreSettings, {"redis_url": "foo"}),
        (MallSettings, {"timezone": "Mars/Phobos"}),
        (MallSettings, {"profile": "test"}),
        (AccessSettings, {"jwt_secret": "short"}),
        (AlertingSettings, {"alert_slack_url": "http://hooks.example.com/x"}),
        (AlertingSettings, {"alert_dingtalk_url": "https://"}),
        (AlertingSettings, {"alert_webhook_url": "https://ops.example.com/"}),  # signed by what?
        (AlertingSettings, {"alert_mail_to": "ops@example.com"}),  # by whom?
        (AlertingSettings, {"alert_smtp_host": "mx.example.com", "alert_smtp_security": "none"}),
        (ServerSettings, {"trusted_proxies": "nonsense"}),
        (ServerSettings, {"trusted_proxies": "10.0.0.0/8, proxy.example.com"}),
        (ServerSettings, {"trusted_proxies": "10.0.0.1/8"}),  # uvicorn takes it for a name
        (ServerSettings, {"trusted_proxies": "10.0.0.1, *"}),
        (SharingSettings, {"public_url": "mall.example.com"}),
        (SharingSettings, {"public_url": "https://"}),
        (SharingSettings, {"public_url": "https://mall.example.com/?a=b"}),
        (SharingSettings, {"front_end_url": "javascript:alert(1)"}),
        (SharingSettings, {"front_end_url": "https://app.example.com/{user}"}),
        (SharingSettings, {"front_end_url": "https://app.example.com/{code.__class__}"}),
        (SharingSettings, {"front_end_url": "https://app.example.com/{code!r}"}),
        (SharingSettings, {"front_end_url": "https://app.example.com/{code:>9}"}),
        (SharingSettings, {"front_end_url": "https://app.example.com/{"}),
    ],
)
def test_nonsense_is_refused(group: type, values: dict[str, str]) -> None:
    """By a validation error, which the commands print in one line."""
    with pytest.raises(ValidationError):
        group(**values)


@pytest.mark.parametrize("proxies", ["*", "203.0.113.9", "10.0.0.0/8, 2001:db8::/32,::1", ""])
def test_proxies_are_named_as_uvicorn_takes_them(proxies: str) -> None:
    """All, addresses or networks; set to nothing they are nobody."""
    assert ServerSettings(trusted_proxies=proxies).trusted_proxies == proxies


def test_a_secret_set_to_nothing_is_not_set() -> None:
    """Else the mall would start and trust nobody."""
    assert AccessSettings.model_validate({"jwt_secret": ""}).jwt_secret is None


def test_addresses_of_links_are_read_as_they_are_pasted() -> None:
    """A slash at the end does not double, nothing is not set, and braces name what is put in."""
    pasted = {"public_url": "https://mall.example.com/shop/", "front_end_url": ""}
    assert SharingSettings.model_validate(pasted).public_url == "https://mall.example.com/shop"
    assert SharingSettings.model_validate(pasted).front_end_url is None
    template = "https://app.example.com/{kind}/{target}?code={code}"
    assert SharingSettings(front_end_url=template).front_end_url == template


@pytest.mark.parametrize(
    ("host", "public_url", "expected"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8000"),
        ("::1", None, "http://[::1]:8000"),
        ("0.0.0.0", "https://mall.example.com", "https://mall.example.com"),
    ],
)
def test_links_begin_where_the_mall_is_reached(
    host: str, public_url: str | None, expected: str
) -> None:
    """Where it listens, unless it is said that the public comes another way."""
    settings = settings_of("postgresql://db/mall", redis_url="redis://cache")
    sharing = SharingSettings(public_url=public_url)
    moved = replace(settings, server=ServerSettings(host=host), sharing=sharing)
    assert moved.public_url == expected


@pytest.mark.parametrize(
    ("pasted", "understood"),
    [
        ("", ()),
        ("*", ("*",)),
        (" https://a.example, https://b.example,", ("https://a.example", "https://b.example")),
    ],
)
def test_origins_are_read_as_they_are_pasted(pasted: str, understood: tuple[str, ...]) -> None:
    """Separated by commas, with blanks or without."""
    assert ServerSettings(allowed_origins=pasted).origins == understood
