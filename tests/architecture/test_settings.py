"""An operator finds every setting in the documentation."""

import pytest

from settings import (
    AccessSettings,
    AlertingSettings,
    CaptchaSettings,
    GraphQLSettings,
    JobSettings,
    LimitSettings,
    MallSettings,
    NotificationSettings,
    ServerSettings,
    SharingSettings,
    StoreSettings,
)
from tests.architecture.source import ROOT

GROUPS = (
    MallSettings,
    StoreSettings,
    AccessSettings,
    CaptchaSettings,
    NotificationSettings,
    ServerSettings,
    GraphQLSettings,
    JobSettings,
    LimitSettings,
    SharingSettings,
    AlertingSettings,
)
NAMES = [f"MALL_{name.upper()}" for group in GROUPS for name in group.model_fields]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented(name: str) -> None:
    """In docs/running.md, by its full name."""
    assert f"`{name}`" in (ROOT / "docs" / "running.md").read_text()
