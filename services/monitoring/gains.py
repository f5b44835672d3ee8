"""The largest gains of an hour, as measured figures: one place a figure for points and for whom."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

MOST_GAINS = 20


class Gain(NamedTuple):
    """What a member earned."""

    user_id: int
    points: int


_PLACES = [
    (f"largest_gainer_id{suffix}", f"largest_gain_1h{suffix}")
    for suffix in ("", *(f"_{place}" for place in range(2, MOST_GAINS + 1)))
]


def figures_of(gains: Sequence[Gain]) -> dict[str, float | None]:
    """Every place; those that nobody takes are empty, so that nothing older is left in them."""
    figures: dict[str, float | None] = dict.fromkeys(name for names in _PLACES for name in names)
    for (user_id, points), gain in zip(_PLACES, gains, strict=False):
        figures |= {user_id: gain.user_id, points: gain.points}
    return figures


def gains_of(measured: Mapping[str, float | None]) -> tuple[Gain, ...] | None:
    """The gains again; None where nobody measured them."""
    if _PLACES[0][0] not in measured:
        return None
    places = [(measured.get(user_id), measured.get(points)) for user_id, points in _PLACES]
    return tuple(
        Gain(int(user_id), int(points))
        for user_id, points in places
        if user_id is not None and points is not None
    )
