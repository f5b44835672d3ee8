"""When two values are the same JSON."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.input_rules import is_same_json

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "1", "true"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_it_is_what_is_written(one: Any, other: Any) -> None:
    """Keys in any order."""
    written = [orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in (one, other)]
    assert is_same_json(one, other) is (written[0] == written[1])
    assert is_same_json(one, orjson.loads(written[0]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        ({"x": [1]}, {"x": [True]}),
        ({"x": {"y": 0.0}}, {"x": {"y": False}}),
        ({"x": None}, {}),
        ([], {}),
        ([1], [1, 1]),
    ],
)
def test_what_python_confuses_is_told_apart(one: Any, other: Any) -> None:
    """True is 1 to it, at any depth."""
    assert not is_same_json(one, other)
    assert not is_same_json(other, one)


def test_a_number_is_the_same_however_it_was_stored() -> None:
    """The database writes 1e16 in full."""
    assert is_same_json({"n": [1e16, 1.0]}, {"n": [10**16, 1]})
