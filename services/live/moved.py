"""What every process says after a commit, so that all of them know what to look at."""

from dataclasses import dataclass
from typing import Final

MOVED_CHANNEL: Final = "{points-mall}:moved"
"""The Redis channel: JSON, `{"users": [ids], "ranked": bool}`."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Whose balances have moved, and whether a rank may have."""

    users: frozenset[int]
    ranked: bool
