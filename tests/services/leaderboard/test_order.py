"""The order of a board: what Redis sorts is what the rule says, for any points and instants."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.base import MAX_POINTS
from services.leaderboard.boards import encode_member, standing_order, user_of
from services.leaderboard.standings import Standing

_A_CENTURY_S = 100 * 365 * 86_400
_INSTANTS = st.integers(0, _A_CENTURY_S * 1_000_000).map(
    lambda microseconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
_FEW_INSTANTS = st.integers(0, 3).map(
    lambda microsecond: datetime(2026, 11, 20, 4, 0, 0, microsecond, tzinfo=UTC)
)
_USERS = st.integers(1, 2**63 - 1) | st.integers(1, 30)
_STANDINGS = st.lists(
    st.tuples(
        st.integers(1, MAX_POINTS) | st.integers(1, 4) | st.just(10**12),
        _INSTANTS | _FEW_INSTANTS,
        _USERS,
    ),
    min_size=2,
    max_size=30,
    unique_by=lambda standing: standing[2],
)


@given(_STANDINGS)
def test_redis_sorts_as_the_rule_says(standings: list[tuple[int, datetime, int]]) -> None:
    """By score, a double, then by the bytes of the member: the points stay exact up to 2^53."""
    by_rule = sorted(standings, key=lambda each: standing_order(*each))
    by_redis = sorted(
        standings, key=lambda each: (float(-each[0]), encode_member(each[1], each[2]).encode())
    )
    assert by_redis == by_rule
    assert [-int(float(-points)) for points, _, _ in by_redis] == [each[0] for each in by_rule]


@given(_INSTANTS, _USERS)
def test_a_member_names_its_user(reached_at: datetime, user_id: int) -> None:
    """And its width never changes, or its order would not be that of numbers."""
    member = encode_member(reached_at, user_id)
    assert user_of(member) == user_id
    assert len(member) == 36


@given(st.integers(1, MAX_POINTS), st.integers(0, 10**6))
def test_the_points_to_next_overtake(points: int, ahead: int) -> None:
    """With one point less the member still stands below, whoever got there first."""
    missing = Standing(2, points, points + ahead).points_to_next
    assert missing is not None
    assert points + missing > points + ahead >= points + missing - 1


@given(st.integers(1, 10**7), st.data())
def test_a_share_of_users_stands_above(total: int, data: st.DataObject) -> None:
    """0 for the first, below 100 for the last, to two decimals."""
    rank = data.draw(st.integers(1, total))
    share = Standing(rank, 1, None).top_percentage(total)
    assert 0 <= share <= 100
    assert (share == 0) is (rank == 1 or (rank - 1) / total < 0.00005)
    assert share == round(share, 2)
