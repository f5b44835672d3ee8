"""How long to wait before trying again, for jobs and for pushes alike."""

_MOST_DOUBLINGS = 30  # a float that doubles for ever ends in an error


def pause_s(attempts: int, chance: float, *, first_s: float, longest_s: float) -> float:
    """How long to wait after so many failures: doubling, with jitter; `chance` is in [0, 1).

    At least half of the full pause, so that what failed together does not come back together.
    """
    full_s = min(longest_s, first_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS))
    return full_s * (1 + chance) / 2
