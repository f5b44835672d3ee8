"""What becomes of invites that are due: decided purely, whatever state their members are in."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import MAX_POINTS
from models.sharing import WithheldReason
from services.identifiers import new_id
from services.points.account import Account
from services.sharing.invite import (
    LONGEST_MEMBER_FOR,
    InvitedMember,
    InviteNotAcceptable,
    require_acceptable,
)
from services.sharing.reward import (
    INVITED_POINTS,
    INVITER_POINTS,
    MOST_REWARDED_A_DAY,
    Counters,
    DueInvite,
    InviteSettlement,
    RewardedInvite,
    decide,
)

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)
USERS = 6
SHARES = {user_id: UUID(int=user_id) for user_id in range(USERS)}

accounts = st.builds(
    lambda erased, days, full: Account(
        0,
        points=full,
        lifetime_earned=full,
        suspended_until=None if days is None else NOW + timedelta(days=days),
        is_erased=erased,
    ),
    st.booleans(),
    st.none() | st.integers(-1, 1),
    st.sampled_from([0, 0, MAX_POINTS - 120, MAX_POINTS]),
)
pairs = st.tuples(st.integers(0, USERS - 1), st.integers(0, USERS - 1)).filter(
    lambda pair: pair[0] != pair[1]
)


def settle(
    states: list[Account], invites: list[tuple[int, int]], paid_before: dict[int, int]
) -> tuple[InviteSettlement, list[RewardedInvite]]:
    """Decide on those invites, one after another."""
    for user_id, account in enumerate(states):
        account.user_id = user_id
    counters = {share: Counters(share, 0, 0) for share in SHARES.values()}
    zone = ZoneInfo("Asia/Shanghai")
    held = dict(enumerate(states))
    settlement = InviteSettlement(NOW, zone, held, dict(paid_before), {}, counters)
    due = [DueInvite(uuid4(), one, other, SHARES[one]) for one, other in invites]
    return settlement, [decide(settlement, invite, new_id) for invite in due]


@given(
    states=st.lists(accounts, min_size=USERS, max_size=USERS),
    invites=st.lists(pairs, max_size=60),
    paid_before=st.dictionaries(st.integers(0, USERS - 1), st.integers(0, MOST_REWARDED_A_DAY)),
)
def test_each_side_gets_its_points_or_a_reason(
    states: list[Account], invites: list[tuple[int, int]], paid_before: dict[int, int]
) -> None:
    """Never both; accounts, lots and links agree; nobody is paid beyond the cap or the room."""
    before = {number: account.points for number, account in enumerate(states)}
    settlement, rewarded = settle(states, invites, paid_before)
    gained, inviters = Counter[int](), Counter[int]()
    for each in rewarded:
        sides = (
            (each.invite.inviter_id, each.inviter, INVITER_POINTS),
            (each.invite.invited_id, each.invited, INVITED_POINTS),
        )
        for user_id, side, points in sides:
            assert (side.record_id is None) is (side.withheld is not None)
            assert side.points == (points if side.withheld is None else 0)
            gained[user_id] += side.points
        inviters[each.invite.inviter_id] += each.inviter.record_id is not None
    for user_id, account in settlement.accounts.items():
        assert account.points == before[user_id] + gained[user_id] <= MAX_POINTS
        assert sum(lot.original_points for lot in account.new_lots) == gained[user_id]
        assert inviters[user_id] <= MOST_REWARDED_A_DAY - paid_before.get(user_id, 0)
        is_out = account.is_erased or (account.suspended_until or NOW) > NOW
        assert not (is_out and gained[user_id])
        counted = settlement.counters[SHARES[user_id]]
        assert counted.conversions == sum(one == user_id for one, _ in invites)
        assert counted.points_earned == inviters[user_id] * INVITER_POINTS


def test_an_inviter_is_capped_by_what_was_paid() -> None:
    """An invite that paid its inviter nothing takes no room from one that could."""
    states = [Account(0) for _ in range(USERS)]
    _, rewarded = settle(states, [(0, 1), (0, 2)], {0: MOST_REWARDED_A_DAY - 1})
    assert [each.inviter.withheld for each in rewarded] == [None, WithheldReason.DAILY_CAP]
    assert [each.invited.points for each in rewarded] == [INVITED_POINTS] * 2


@pytest.mark.parametrize(
    ("member", "state"),
    [
        ({"was_erased_before": True}, "NOT_NEW"),
        ({"has_moved_in": True}, "NOT_NEW"),
        ({"has_completed_task": True}, "NOT_NEW"),
        ({"joined_at": NOW - LONGEST_MEMBER_FOR - timedelta(microseconds=1)}, "NOT_NEW"),
        ({"is_above_inviter": True}, "IN_CIRCLE"),
        ({"is_suspended": True}, "SUSPENDED"),
        ({"accepted_share_id": SHARES[2]}, "ACCEPTED_ANOTHER"),
    ],
)
def test_each_reason_alone_is_enough(member: dict[str, object], state: str) -> None:
    """To refuse an invite that could be accepted otherwise."""
    acceptable: dict[str, object] = {
        "joined_at": NOW - LONGEST_MEMBER_FOR,
        "accepted_share_id": None,
        "is_above_inviter": False,
        "has_completed_task": False,
        "was_erased_before": False,
        "has_moved_in": False,
        "is_suspended": False,
    }
    assert require_acceptable(InvitedMember(**acceptable), SHARES[1], NOW)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InviteNotAcceptable) as refused:
        require_acceptable(InvitedMember(**acceptable | member), SHARES[1], NOW)  # pyright: ignore[reportArgumentType]
    assert refused.value.state == state
