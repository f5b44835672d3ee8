"""What operators paste is understood, or refused with a message."""

import pytest
from pydantic import ValidationError

from settings import AccessSettings, MallSettings, StoreSettings


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
    ],
)
def test_nonsense_is_refused(group: type, values: dict[str, str]) -> None:
    """By a validation error, which the commands print in one line."""
    with pytest.raises(ValidationError):
        group(**values)


def test_a_secret_set_to_nothing_is_not_set() -> None:
    """Else the mall would start and trust nobody."""
    assert AccessSettings.model_validate({"jwt_secret": ""}).jwt_secret is None
