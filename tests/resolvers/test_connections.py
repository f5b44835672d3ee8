"""Who counts as one address."""

import pytest

from resolvers.connections import _is_private
from services.limits.networks import network_of


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        (None, None, True),
        ("testclient", "127.0.0.1", False),
    ],
)
def test_an_address(one: str | None, other: str | None, *, is_same: bool) -> None:
    """Of IPv6 a customer is given the first half; the old in the clothes of the new is the old."""
    assert (network_of(one) == network_of(other)) is is_same


@pytest.mark.parametrize(
    ("address", "is_private"),
    [
        ("10.0.0.7", True),
        ("172.17.0.1", True),
        ("127.0.0.1", True),
        ("::ffff:10.0.0.7", True),
        ("fd00::1", True),
        ("8.8.8.8", False),
        ("2606:4700::1", False),
        ("testclient", False),
        (None, False),
    ],
)
def test_who_may_be_a_proxy(address: str | None, *, is_private: bool) -> None:
    """At the limit of such an address the log says that all may share it."""
    assert _is_private(address) is is_private
