"""Who is a person, and who is somebody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sharing.links import front_end_link, new_code, read_code
from services.sharing.visits import VISITORS_AN_ADDRESS, is_person, visitor_of

PEOPLE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6) AppleWebKit/605.1.15 Version/18.6 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/80.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; V2309A) AppleWebKit/537.36 MicroMessenger/8.0.50 Mobile",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) AppleWebKit/605.1.15 DingTalk/7.6.0 Mobile/15E148",
)


@pytest.mark.parametrize("agent", PEOPLE)
def test_people_are_people(agent: str) -> None:
    """In browsers, and in those inside of apps; a phone may be called CUBOT."""
    assert is_person({"user-agent": agent})


@pytest.mark.parametrize(
    ("header", "value"),
    [("sec-purpose", "prefetch"), ("purpose", "prefetch"), ("x-moz", "prefetch")],
)
def test_looking_ahead_is_no_visit(header: str, value: str) -> None:
    """The browser may never show what it fetched."""
    assert not is_person({"user-agent": PEOPLE[0], header: value})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, "testclient"),
    ],
)
def test_one_network_is_one_visitor(one: str | None, other: str) -> None:
    """A household has 2^64 addresses of IPv6; IPv4 within IPv6 is IPv4."""
    assert visitor_of(one, "browser") == visitor_of(other, "browser")


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", "192.0.2.2")],
)
def test_other_networks_are_other_visitors(one: str, other: str) -> None:
    """To the single address of IPv4."""
    assert visitor_of(one, "browser") != visitor_of(other, "browser")


@given(agents=st.sets(st.text(), min_size=200, max_size=300))
def test_an_address_is_so_many_visitors_at_most(agents: set[str]) -> None:
    """Whatever its browsers say, in whatever characters."""
    assert len({visitor_of("192.0.2.1", agent) for agent in agents}) <= VISITORS_AN_ADDRESS


@given(st.text())
def test_a_code_is_read_or_it_is_none(written: str) -> None:
    """What is read can be stored and reads as itself."""
    code = read_code(written)
    assert code is None or read_code(code) == code


def test_codes_are_read_as_they_are_made() -> None:
    """Typed in small letters too; a thousand are a thousand."""
    codes = {new_code() for _ in range(1_000)}
    assert len(codes) == 1_000
    assert all(read_code(f" {code.lower()}\n") == code for code in codes)


def test_what_is_put_into_an_address_stays_a_value() -> None:
    """Quoted, whatever it holds."""
    template = "https://app.test/{kind}/{target}?code={code}"
    assert front_end_link(template, "A&b=c", "item", "../x?y#z") == (
        "https://app.test/item/..%2Fx%3Fy%23z?code=A%26b%3Dc"
    )
