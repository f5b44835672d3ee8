"""What extending a lot costs and gives (`domain.md`, Points, Extension)."""

EXTENSION_FEE_PERCENT = 5
"""Taken from the lot itself, at least one point."""

EXTENSION_DAYS = 30
"""How much later the lot ends."""

EXTENSION_WINDOW_DAYS = 30
"""A lot can be extended this long before its end, once."""


def fee_of(points: int) -> int:
    """5 % of the points, whole ones, at least 1."""
    return max(1, points * EXTENSION_FEE_PERCENT // 100)
