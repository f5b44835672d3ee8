"""What the caps of the day and the week still let a member earn from tasks."""

from hypothesis import given
from hypothesis import strategies as st

from services.tasks.open_tasks import OpenTasks, payable
from services.tasks.rules import Earned


@given(
    st.lists(st.integers(1, 1_200), max_size=20),
    st.integers(0, 1_000),
    st.integers(0, 5_000),
)
def test_no_more_is_promised_than_can_be_paid(
    rewards: list[int], today: int, this_week: int
) -> None:
    """As many tasks as the caps let pay, never more; all of them when they leave room for all."""
    left = min(1_000 - today, 5_000 - this_week)
    found = payable(rewards, Earned(today, this_week))
    assert found.points == sum(sorted(rewards)[: found.count]) <= left
    if found.count < len(rewards):
        assert sum(sorted(rewards)[: found.count + 1]) > left


def test_who_has_earned_all_is_promised_nothing() -> None:
    """Neither today nor this week."""
    assert payable([10], Earned(1_000, 1_000)) == payable([10], Earned(0, 5_000)) == OpenTasks(0, 0)
