"""What is held until an operator decides, once more, as naively as it can be written."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from tests.services.points.naive_mall import Lot
from tests.services.points.naive_returns import NaiveReturns

LotName = tuple[int, datetime]
"""Whose, and when it was made: no two are equally old."""


class NaiveHolds(NaiveReturns):
    """Gains above so many an hour, and on a device of many, wait for an operator."""

    def __init__(self, gains_an_hour: int = 0) -> None:
        super().__init__()
        self.gains_an_hour = gains_an_hour

    def add_member(self, user_id: int) -> None:
        """A member who has gained nothing."""
        super().add_member(user_id)
        self.members[user_id] |= {"shares until": None, "gained": Fraction(0), "gained at": None}

    def earn(self, user_id: int, points: int, ends: datetime | None, now: datetime) -> Lot:
        """A new lot, which counts or is held."""
        hold = self.hold_on(user_id, points, now)
        if hold is None:
            return super().earn(user_id, points, ends, now)
        self.settle(user_id, now)
        lot = self.add_lot(user_id, points, ends, now, "pending")
        self._hold(lot, hold)
        return lot

    def begin(self, user_id: int, lot: Lot, now: datetime) -> int:
        """A lot whose day has come counts or is held."""
        hold = self.hold_on(user_id, lot["points"], now)
        if hold is None:
            return super().begin(user_id, lot, now)
        self._hold(lot, hold)
        return 0

    def _hold(self, lot: Lot, hold: str) -> None:
        lot["hold"] = hold
        self.alerts_asked += 1

    def hold_on(self, user_id: int, points: int, now: datetime) -> str | None:
        """A pail that holds an hour's gains and runs empty in an hour, drop by drop."""
        member = self.members[user_id]
        if member["shares until"] is not None and member["shares until"] > now:
            return "shared_device"
        if not self.gains_an_hour:
            return None
        since = now - (member["gained at"] or now)
        run_out = Fraction(since // timedelta(microseconds=1), 3_600 * 10**6) * self.gains_an_hour
        gained = max(Fraction(0), member["gained"] - run_out) + points
        if gained > self.gains_an_hour:
            return "gains"
        member["gained"], member["gained at"] = gained, now
        return None

    def lot_of(self, name: LotName) -> Lot:
        """The lot of that name."""
        user_id, made = name
        return next(lot for lot in self.members[user_id]["lots"] if lot["made"] == made)

    def held_of(self, user_id: int) -> list[LotName]:
        """What a member has that is held, oldest first."""
        lots = self.members[user_id]["lots"]
        return [(user_id, lot["made"]) for lot in lots if _is_held(lot)]

    def decide(
        self, names: Sequence[LotName], now: datetime, *, releases: bool
    ) -> tuple[int, int] | str:
        """(lots, points) that were decided on, all or none, as they were granted."""
        in_order = sorted(set(names), key=lambda name: (name[1], name[0]))
        lots = [(name[0], self.lot_of(name)) for name in in_order]
        if not all(_is_held(lot) for _, lot in lots):
            return "refused"
        points = sum(lot["points"] for _, lot in lots)
        for user_id, lot in lots:
            if releases:
                super().begin(user_id, lot, now)
            else:
                lot |= {"rejected": lot["points"], "points": 0, "status": "reversed"}
        self.other_keys += 1
        for user_id in {user_id for user_id, _ in lots}:
            self.unlock(user_id, now)
        return len(lots), points


def _is_held(lot: Lot) -> bool:
    return lot["status"] == "pending" and lot["hold"] is not None
