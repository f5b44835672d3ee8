"""Who counts as one address."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(maxsize=65_536)
def network_of(address: str | None) -> str:
    """Who is at this address: of IPv6 all that one customer is given, which is half of it."""
    try:
        parsed = ip_address(address or "")
    except ValueError:  # such as a Unix socket, or the name of a test's client
        return f"address:{address}"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"address:{int(parsed) >> 64:x}"
    return f"address:{getattr(parsed, 'ipv4_mapped', None) or parsed}"
