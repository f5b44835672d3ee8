"""Accounts for property tests: any user with any lots, as they could be read under lock."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st

from models.points import PointsRecordStatus
from services.points.account import Account, Lot, drawing_order

NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)

MOMENTS = st.integers(-60, 60).map(lambda hours: NOW + timedelta(hours=hours))
"""Instants around now, now itself among them; few enough to coincide often."""

ENDS = st.none() | MOMENTS
LATER_ENDS = st.none() | st.integers(1, 60).map(lambda hours: NOW + timedelta(hours=hours))


@st.composite
def lots(draw: st.DrawFn, user_id: int, ends: st.SearchStrategy[datetime | None] = ENDS) -> Lot:
    """An active lot with points left, granted at some time before now."""
    points = draw(st.integers(1, 50))
    return Lot(
        id=draw(st.uuids()),
        user_id=user_id,
        points=points,
        original_points=points + draw(st.integers(0, 20)),
        source="test",
        source_reference=None,
        status=PointsRecordStatus.ACTIVE,
        expires_at=draw(ends),
        created_at=NOW - timedelta(hours=draw(st.integers(61, 70))),
    )


@st.composite
def accounts(
    draw: st.DrawFn, user_id: int = 1, ends: st.SearchStrategy[datetime | None] = ENDS
) -> Account:
    """An account in which everything adds up, with 0 to 8 lots in drawing order."""
    held = draw(st.lists(lots(user_id, ends), max_size=8, unique_by=lambda lot: lot.id))
    points = sum(lot.points for lot in held)
    redeemed, expired = draw(st.integers(0, 500)), draw(st.integers(0, 500))
    return Account(
        user_id=user_id,
        points=points,
        lifetime_earned=points + redeemed + expired,
        lifetime_redeemed=redeemed,
        lifetime_expired=expired,
        audit_sequence=draw(st.integers(0, 1000)),
        lots=sorted(held, key=drawing_order),
    )


def is_due(lot: Lot, now: datetime = NOW) -> bool:
    """Past its expiry, told as plainly as possible."""
    return lot.expires_at is not None and not lot.expires_at > now
