"""How the facts of an open alert add up: pure, so tried with any there could be."""

from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.facts import MOST_NAMED, is_worse, said_of_members, together

_few_members = st.lists(st.integers(1, 9), max_size=9)
_any_members = st.lists(st.integers(1, 2 * MOST_NAMED), max_size=MOST_NAMED, unique=True)
_points = st.integers(1, 10**6)


def _of(members: st.SearchStrategy[list[int]]) -> st.SearchStrategy[dict[str, Any]]:
    gains = st.lists(st.builds(lambda user_id: {"user_id": user_id, "points": 5}, _points))
    optional = {"held_points": _points, "gains_1h": gains}
    return st.fixed_dictionaries({"user_ids": members}, optional=optional)


@given(st.lists(_of(_few_members), min_size=1))
def test_nothing_that_was_said_is_lost_or_said_twice(seen: list[dict[str, Any]]) -> None:
    """Every member is named once, every point that was held counts once."""
    known = reduce(together, seen, {})
    named = [user_id for facts in seen for user_id in facts["user_ids"]]
    assert known["user_ids"] == list(dict.fromkeys(named))
    assert known.get("held_points", 0) == sum(facts.get("held_points", 0) for facts in seen)
    assert f"({len(known['user_ids'])} member(s))" in said_of_members(known)


@given(st.lists(_of(_few_members), min_size=1), st.data())
def test_what_was_said_is_no_news(seen: list[dict[str, Any]], data: st.DataObject) -> None:
    """In whatever order it comes again; whoever was not named is."""
    known = reduce(together, seen, {})
    assert not is_worse(known, data.draw(st.sampled_from(seen)))
    assert is_worse(known, {"user_ids": [10]})


@given(_of(_any_members), _of(_any_members), _of(_any_members))
def test_it_does_not_matter_what_is_put_together_first(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    """A process collects what it notices before it says so; however many there are."""
    known = together(together(first, second), third)
    assert known == together(first, together(second, third))
    assert len(known["user_ids"]) <= MOST_NAMED


@given(st.sampled_from(["violations", "failed_jobs", "undelivered_alerts"]), _points, _points)
def test_more_of_it_is_worse(name: str, known: int, seen: int) -> None:
    """Compared with what was so last."""
    assert is_worse({name: known}, {name: seen}) == (seen > known)
