"""Retry-After, as providers and whoever stands between write it."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.retry_after import LONGEST_S, retry_after_s

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("999999999", LONGEST_S),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Fri, 15 Jan 2027 08:01:00 -0000", 60.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_S),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("nan", None),
        ("١٢", None),
        ("9" * 5_000, None),
    ],
)
def test_what_is_understood(header: str | None, wait_s: float | None) -> None:
    """Seconds and dates; nothing is waited for longer than a day, nothing odd is waited for."""
    assert retry_after_s(header, NOW) == wait_s


@given(st.integers(0, 86_400))
def test_a_date_says_the_same_as_seconds(wait_s: int) -> None:
    """To the second."""
    date = formatdate(NOW + wait_s, usegmt=True)
    assert retry_after_s(date, NOW) == retry_after_s(str(wait_s), NOW) == wait_s


@given(st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ GMT\Z"))
def test_nonsense_is_no_wait(header: str) -> None:
    """Whatever is in it, nothing is raised and nothing impossible comes out."""
    wait_s = retry_after_s(header, NOW)
    assert wait_s is None or 0 <= wait_s <= LONGEST_S
