"""What an alert knows: how facts add up while it is open, and when they are news. Pure.

`user_ids` and `providers` are whom it is about, all that were named since it opened; `held_points`
all that was held since. Everything else is as it was seen last.
"""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
MOST_NAMED = 200
"""How many members an alert names: facts are sent to others, and kept."""
_NAMED = ("user_ids", "providers")
_ADDED_UP = ("held_points",)
_WORSE_WHEN_MORE = ("violations", "failed_jobs", "undelivered_alerts")


def together(known: Facts, seen: Facts) -> dict[str, Any]:
    """The facts of an alert that knew some, and was seen again with others."""
    facts = {**known, **seen}
    for name in facts.keys() & _NAMED:
        named = dict.fromkeys([*known.get(name, ()), *seen.get(name, ())])
        facts[name] = list(named)[:MOST_NAMED]
    for name in _ADDED_UP:
        if name in known and name in seen:
            facts[name] = known[name] + seen[name]
    return facts


def is_worse(known: Facts, seen: Facts) -> bool:
    """Whether someone who knew of the one would not expect the other: more of it, or others.

    Whoever is not named because there were too many is somebody else each time: rather told twice.
    """
    is_more = any(seen.get(name, 0) > known.get(name, 0) for name in _WORSE_WHEN_MORE)
    return is_more or any(set(seen.get(name, ())) - set(known.get(name, ())) for name in _NAMED)


def said_of_members(facts: Facts) -> str:
    """In words: who gains too fast, as measured last, and what was held."""
    said: list[str] = []
    if gains := facts.get("gains_1h"):
        earned = (f"{gain['points']:,} points by member {gain['user_id']}" for gain in gains)
        said.append(f"Earned within an hour: {', '.join(earned)}")
    if "held_points" in facts:
        said.append(f"{facts['held_points']:,} points were held, see `heldPoints`")
    members = len(facts["user_ids"])
    count = f"{members} or more" if members == MOST_NAMED else members
    return f"{'; '.join(said)} ({count} member(s))"
