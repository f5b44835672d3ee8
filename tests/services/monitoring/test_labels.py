"""However many values others make up, there are only so many labels."""

from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.labels import SEVERAL, BoundedLabels, operation_label

NAMES = st.one_of(st.none(), st.text(min_size=1, max_size=80))
FIELDS = st.lists(st.sampled_from(["me", "items", "tasks"]), min_size=1, unique=True)


@given(st.lists(st.tuples(NAMES, FIELDS)), st.integers(0, 5))
def test_labels_are_bounded_and_say_the_same_again(
    asked: list[tuple[str | None, list[str]]], most: int
) -> None:
    """So many names, the fields and `several`; who has a label keeps it."""
    names = BoundedLabels(most)
    first = [operation_label(names, name, fields) for name, fields in asked]
    assert len(set(first) - {"me", "items", "tasks", SEVERAL}) <= most
    assert first == [operation_label(names, name, fields) for name, fields in asked]


def test_a_name_shows_up_while_there_is_room() -> None:
    """Then the one field, or that there are several; a name too long for a label never does."""
    names = BoundedLabels(1)
    assert operation_label(names, "N" * 65, ["me"]) == "me"
    assert operation_label(names, "Home", ["me", "tasks"]) == "Home"
    assert operation_label(names, "Other", ["me"]) == "me"
    assert operation_label(names, "Other", ["me", "tasks"]) == SEVERAL
    assert operation_label(names, "Home", ["me"]) == "Home"


def test_known_values_take_no_room() -> None:
    """They have their label from the beginning."""
    labels = BoundedLabels(1, known=["task"])
    assert [labels.of(name, "other") for name in ("task", "a", "b", "task")] == [
        "task",
        "a",
        "other",
        "task",
    ]
