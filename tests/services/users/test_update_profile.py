"""What a profile may say: the deciding function over all kinds of values."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.users.update_profile import ProfileChanges, ProfileInvalid, read_changes

TODAY = date(2026, 11, 20)


def outcome(asked: ProfileChanges) -> dict[str, Any] | tuple[str, ...]:
    """What would be written, or the field that is wrong."""
    try:
        return read_changes(asked, TODAY)
    except ProfileInvalid as error:
        return error.field


@given(st.text() | st.from_regex(r"https?://[a-z.:/ \t\n@\[\]]*"))
def test_an_avatar_is_taken_as_it_is_or_not_at_all(url: str) -> None:
    """Nothing but http(s) with a host, printable, at most 2,000 characters."""
    columns = outcome({"avatar_url": url})
    if columns == ("avatarUrl",):
        return
    assert columns == {"avatar_url": url}
    assert url.lower().startswith(("http://", "https://"))
    assert url.isprintable()
    assert " " not in url
    assert len(url) <= 2_000


@given(st.integers() | st.integers(1890, 2030))
def test_a_year_of_birth_lies_in_a_life(year: int) -> None:
    """1900 to five years ago, both included."""
    is_possible = 1900 <= year <= 2021
    expected = {"birth_year": year} if is_possible else ("birthYear",)
    assert outcome({"birth_year": year}) == expected


@given(st.lists(st.text(max_size=52), max_size=60))
def test_interests_are_kept_once_and_in_order(interests: list[str]) -> None:
    """As they were given, without space around them."""
    columns = outcome({"interests": interests})
    if not isinstance(columns, dict):
        assert columns == ("interests",)
        return
    kept = columns["interests"]
    assert kept == list(dict.fromkeys(interest.strip() for interest in interests))
    assert len(kept) <= 50
    assert all(1 <= len(interest) <= 50 and "\x00" not in interest for interest in kept)


def test_only_what_is_asked_is_changed() -> None:
    """Nothing at all for nothing; None where it may be empty."""
    assert read_changes({}, TODAY) == {}
    cleared = {"avatar_url": None, "gender": None, "birth_year": None}
    assert read_changes(
        {"avatar_url": None, "gender": None, "birth_year": None, "interests": None}, TODAY
    ) == {**cleared, "interests": []}


def test_what_cannot_be_empty_is_not_cleared() -> None:
    """A member always has a language and a time zone."""
    with pytest.raises(ProfileInvalid) as locale:
        read_changes({"locale": None}, TODAY)
    with pytest.raises(ProfileInvalid) as timezone:
        read_changes({"timezone": None}, TODAY)
    assert (locale.value.field, timezone.value.field) == (("locale",), ("timezone",))
