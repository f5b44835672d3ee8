"""What a member may reach next, as read with the member's lock.

Nearly every movement reaches nothing. Knowing the nearest targets and which version of the
definitions the member was held against tells so without another statement; only a movement that
gets to a target, or comes after the definitions were widened, reads definitions (`unlock.py`).
"""

from dataclasses import dataclass

NO_TARGET = 2**63 - 1
"""Nothing is ahead: no member ever counts as far."""


@dataclass(slots=True)
class Milestones:
    """The nearest target of each measure that counts, above what the member had when locked.

    `checked` is the version of the definitions up to which the member has all that was reached,
    `current` the version they had then.
    """

    checked: int = 0
    current: int = 0
    exchanges_made: int = NO_TARGET
    best_streak: int = NO_TARGET
    tasks_completed: int = NO_TARGET
    points_earned: int = NO_TARGET
