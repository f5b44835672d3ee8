"""What comes back, once more, as naively as it can be written: on top of `naive_mall`."""

from datetime import datetime, timedelta
from typing import Any

from tests.services.points.naive_mall import Lot, NaiveMall, a_year_after

COUPON_DAYS = 30


class NaiveReturns(NaiveMall):
    """Grants with references, reversals, corrections, extensions, cancelled exchanges."""

    def __init__(self) -> None:
        super().__init__()
        self.grants: dict[str, dict[str, Any]] = {}

    def grant(
        self,
        user_id: int,
        points: int,
        reference: str,
        held_until: datetime | None,
        ends: datetime | None,
        now: datetime,
    ) -> str:
        """A grant by another system, which its reference names."""
        if reference in self.grants:
            return "refused"
        ends = ends or a_year_after(held_until or now)
        if held_until is None:
            lot = self.earn(user_id, points, ends, now)
        else:
            lot = self.add_lot(user_id, points, ends, now, "pending")
            lot["held until"] = held_until
        self.grants[reference] = {
            "user": user_id,
            "lot": lot,
            "points": points,
            "reversed": 0,
            "lapsed": 0,
            "own": 0,
        }
        self.other_keys += 1
        self.unlock(user_id, now)
        return "done"

    def activate(self, now: datetime) -> tuple[int, int] | None:
        """Lots whose time has come; (how many, how many points), or None where there is none."""
        due = [
            (lot["held until"], lot["made"], user_id, lot)
            for user_id, member in self.members.items()
            for lot in member["lots"]
            if lot["status"] == "pending" and lot["hold"] is None and lot["held until"] <= now
        ]
        begun = [
            self.begin(user_id, lot, now)
            for _, _, user_id, lot in sorted(due, key=lambda each: each[:2])
        ]
        for user_id in {user_id for _, _, user_id, _ in due}:
            self.unlock(user_id, now)
        return (sum(points > 0 for points in begun), sum(begun)) if due else None

    def begin(self, user_id: int, lot: Lot, now: datetime) -> int:
        """Let a pending lot count; with how many points it begins."""
        points = lot["points"]
        self.settle(user_id, now)
        lot["status"] = "active"
        self.rank(user_id, points, now)
        if _is_over(lot, now):
            self.members[user_id]["earned"] += points
            self.members[user_id]["changes"] += 1
            self.settle(user_id, now)
        else:
            self.count_in(self.members[user_id], lot)
        return points

    def reverse(self, reference: str, points: int, now: datetime) -> tuple[int, int] | str:
        """(taken back, owed), or why not."""
        grant = self.grants.get(reference)
        if grant is None or points > grant["points"] - grant["reversed"]:
            return "refused"
        user_id, lot = grant["user"], grant["lot"]
        member = self.members[user_id]
        self.settle(user_id, now)
        grant["reversed"] += points
        self.other_keys += 1
        if lot["rejected"]:
            lot["rejected"] -= points
            grant["own"] += points
            return points, 0
        if lot["status"] == "pending":
            self.draw(lot, points, "reversed")
            grant["own"] += points
            return points, 0
        self.rank(user_id, -points, now)
        gone = lot["points"] if lot["status"] == "expired" else 0
        lapsed = min(points, gone + lot.get("paid in vain", 0) - grant["lapsed"])
        grant["lapsed"] += lapsed
        points -= lapsed
        taken = min(points, self.available(user_id, now))
        member["owed"] += points - taken
        member["earned"] -= taken
        member["changes"] += taken > 0
        grant["own"] += self._take_own_first(user_id, lot, taken, now)
        return taken, points - taken

    def _take_own_first(self, user_id: int, own: Lot, points: int, now: datetime) -> int:
        live, from_own = self.live_lots(user_id, now), 0
        if any(lot is own for lot in live):
            from_own = min(own["points"], points)
            if from_own:
                self.draw(own, from_own, "reversed")
            points -= from_own
        self.take([lot for lot in live if lot is not own], points)
        return from_own

    def adjust(self, user_id: int, points: int, now: datetime) -> str:
        """A correction; it is no grant, so it pays nothing that is owed."""
        if -points > self.available(user_id, now):
            return "refused"
        self.settle(user_id, now)
        if points > 0:
            self.add_lot(user_id, points, a_year_after(now), now)
        else:
            self.take(self.live_lots(user_id, now), -points)
        member = self.members[user_id]
        member["adjusted"] += points
        member["changes"] += 1
        self.other_keys += 1
        return "done"

    def extend(self, user_id: int, lot: Lot, now: datetime) -> str:
        """30 days more for 5 %, once."""
        if self.is_suspended(user_id, now):
            return "refused"
        fee = max(1, lot["points"] * 5 // 100)
        is_due = lot["ends"] is not None and now < lot["ends"] <= now + timedelta(days=30)
        if lot["status"] != "active" or not is_due or "extended" in lot or lot["points"] <= fee:
            return "refused"
        self.settle(user_id, now)
        lot["extended"] = now
        lot["ends"] += timedelta(days=30)
        self.draw(lot, fee, "used")
        member = self.members[user_id]
        member["redeemed"] += fee
        member["changes"] += 1
        self.other_keys += 1
        return "done"

    def cancel(self, exchange: dict[str, Any], now: datetime) -> tuple[int, int] | str:
        """(given back, lapsed), or why not."""
        if exchange["cancelled"] or now >= exchange["at"] + timedelta(days=COUPON_DAYS):
            return "refused"
        user_id = exchange["user"]
        self.settle(user_id, now)
        back = [pair for pair in exchange["paid"] if not _is_over(pair[0], now)]
        for lot, points in exchange["paid"]:
            if _is_over(lot, now):
                lot["paid in vain"] = lot.get("paid in vain", 0) + points
                self._let_lapse(user_id, lot, points)
        for lot, points in back:
            lot["points"] += points
            lot["status"] = "active"
        given = sum(points for _, points in back)
        member = self.members[user_id]
        member["redeemed"] -= given
        member["changes"] += given > 0
        for lot, points in back:
            fee = 0
            if lot.get("extended", exchange["at"]) > exchange["at"]:
                fee = max(1, points * 5 // 100)
                member["redeemed"] += fee
                member["changes"] += 1
                self.draw(lot, fee, "used")
            owed = min(member["owed"], points - fee)
            if owed:
                member["owed"] -= owed
                member["earned"] -= owed
                member["changes"] += 1
                self.draw(lot, owed, "used")
        exchange["cancelled"] = True
        self.items[exchange["item"]]["stock"] += 1
        return given, sum(points for _, points in exchange["paid"]) - given

    def _let_lapse(self, user_id: int, lot: Lot, points: int) -> None:
        """Points that a reversal asked for and that turn out to have expired are not owed."""
        member = self.members[user_id]
        for grant in self.grants.values():
            if grant["lot"] is lot:
                missing = grant["reversed"] - grant["lapsed"] - grant["own"]
                forgiven = min(points, missing, member["owed"])
                grant["lapsed"] += forgiven
                member["owed"] -= forgiven


def _is_over(lot: Lot, now: datetime) -> bool:
    return lot["ends"] is not None and lot["ends"] <= now
