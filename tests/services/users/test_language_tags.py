"""Language tags: which are well formed, and how they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.users.language_tags import LONGEST_TAG, read_language_tag


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("zh-CN", "zh-CN"),
        ("en", "en"),
        ("EN_us", "en-US"),
        ("zh-hans-cn", "zh-Hans-CN"),
        ("es-419", "es-419"),
        ("zh-yue-hk", "zh-yue-HK"),
        ("sl-rozaj-biske-1994", "sl-rozaj-biske-1994"),
        ("de-ch-1901", "de-CH-1901"),
        ("en-US-u-IS-latn", "en-US-u-is-latn"),
        ("en-x-US", "en-x-us"),
        ("tlh", "tlh"),
    ],
)
def test_a_well_formed_tag_is_written_the_usual_way(text: str, tag: str) -> None:
    """Whichever way it came."""
    assert read_language_tag(text) == tag


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "e", "-", "en-", "-en", "en--US", "en US", " en", "en\n", "e1", "123"),
        *("toolonglanguage", "en-x", "en-u", "zh_CN.UTF-8", "中文", "ｅｎ", "*", "en\x00"),
        "en-" + "-".join(["abcde"] * 6),
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    """Empty parts, foreign letters, too long."""
    assert read_language_tag(text) is None


@given(st.from_regex(r"[A-Za-z0-9_-]{0,40}") | st.text())
def test_what_was_read_is_read_the_same_again(text: str) -> None:
    """And fits."""
    tag = read_language_tag(text)
    if tag is not None:
        assert read_language_tag(tag) == tag
        assert len(tag) <= LONGEST_TAG
        assert tag.lower() == text.replace("_", "-").lower()
