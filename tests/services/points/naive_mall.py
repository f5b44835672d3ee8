"""The rules of points, tasks and exchanges once more, as naively as they can be written.

Plain dictionaries and lists, read from `domain.md` and nothing of the mall's own code but the
names of its sources: what the real ledger is held against.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")
BONUSES = {3: 5, 7: 20, 14: 50, 30: 100, 60: 100, 90: 100, 120: 100}

Lot = dict[str, Any]
Member = dict[str, Any]


def a_year_after(now: datetime) -> datetime:
    """12 calendar months later, at the same local time."""
    local = now.astimezone(ZONE)
    day = local.date()
    try:
        day = day.replace(year=day.year + 1)
    except ValueError:
        day = date(day.year + 1, 2, 28)
    return datetime.combine(day, local.time(), ZONE).astimezone(UTC)


def day_of(now: datetime) -> date:
    """The mall's day."""
    return now.astimezone(ZONE).date()


def monday_of(now: datetime) -> date:
    """The first day of the mall's week."""
    return day_of(now) - timedelta(days=day_of(now).isoweekday() - 1)


def start_of(day: date) -> datetime:
    """When a day of the mall begins."""
    return datetime.combine(day, time(0), ZONE)


class NaiveMall:
    """Members, items and tasks by id; each method says what the mall must answer."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.items: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.exchanges: list[dict[str, Any]] = []
        self.keys: dict[tuple[int, str], dict[str, Any]] = {}
        self.other_keys = 0
        self.alerts_asked = 0
        self.achievements: list[dict[str, Any]] = []

    def add_member(self, user_id: int) -> None:
        """A member who has nothing."""
        sums = ("earned", "redeemed", "expired", "adjusted", "owed", "changes", "ranked")
        counts = dict.fromkeys(sums, 0)
        self.members[user_id] = {
            "lots": [],
            "days": {},
            "done": [],
            "unlocked": [],
            "ranked at": None,
            "suspended until": None,
            **counts,
        }

    def available(self, user_id: int, now: datetime) -> int:
        """What the member can spend."""
        return sum(lot["points"] for lot in self.live_lots(user_id, now))

    def booked(self, user_id: int) -> int:
        """What the member's row says: due lots count until they are settled."""
        lots = self.members[user_id]["lots"]
        return sum(lot["points"] for lot in lots if lot["status"] == "active")

    def live_lots(self, user_id: int, now: datetime) -> list[Lot]:
        """Lots that can be drawn, in the order in which they are."""
        live = [
            lot
            for lot in self.members[user_id]["lots"]
            if lot["status"] == "active" and (lot["ends"] is None or lot["ends"] > now)
        ]
        with_end = sorted(
            (lot for lot in live if lot["ends"] is not None),
            key=lambda lot: (lot["ends"], lot["made"]),
        )
        return with_end + sorted(
            (lot for lot in live if lot["ends"] is None), key=lambda lot: lot["made"]
        )

    def settle(self, user_id: int, now: datetime) -> tuple[int, int]:
        """End the lots that are due; (how many, how many points)."""
        member = self.members[user_id]
        due = [
            lot
            for lot in member["lots"]
            if lot["status"] == "active" and lot["ends"] is not None and lot["ends"] <= now
        ]
        for lot in due:
            lot["status"] = "expired"
            member["expired"] += lot["points"]
        member["changes"] += bool(due)
        return len(due), sum(lot["points"] for lot in due)

    def earn(self, user_id: int, points: int, ends: datetime | None, now: datetime) -> Lot:
        """A new lot."""
        self.settle(user_id, now)
        lot = self.add_lot(user_id, points, ends, now)
        self.count_in(self.members[user_id], lot)
        self.rank(user_id, points, now)
        return lot

    def is_suspended(self, user_id: int, now: datetime) -> bool:
        """Whether the member may not earn or spend."""
        until = self.members[user_id]["suspended until"]
        return until is not None and until > now

    def rank(self, user_id: int, points: int, now: datetime) -> None:
        """What stands on the board of all time: earned, and not taken back."""
        self.members[user_id]["ranked"] += points
        self.members[user_id]["ranked at"] = now

    def add_lot(
        self,
        user_id: int,
        points: int,
        ends: datetime | None,
        now: datetime,
        status: str = "active",
    ) -> Lot:
        """A lot that no sum knows of yet."""
        lot = {
            "points": points,
            "original": points,
            "ends": ends,
            "made": now,
            "status": status,
            "rejected": 0,
            "hold": None,
        }
        self.members[user_id]["lots"].append(lot)
        return lot

    def count_in(self, member: Member, lot: Lot) -> None:
        """Points were earned; what the member owes is taken from them."""
        member["earned"] += lot["points"]
        member["changes"] += 1
        owed = min(member["owed"], lot["points"])
        if owed:
            member["owed"] -= owed
            member["earned"] -= owed
            member["changes"] += 1
            self.draw(lot, owed, "used")

    def draw(self, lot: Lot, points: int, when_empty: str) -> None:
        """Take points from a lot."""
        lot["points"] -= points
        if lot["points"] == 0:
            lot["status"] = when_empty

    def check_in(self, user_id: int, now: datetime) -> tuple[str, int]:
        """("done", points), ("refused", 0) or ("suspended", 0)."""
        if self.is_suspended(user_id, now):
            return "suspended", 0
        days, today = self.members[user_id]["days"], day_of(now)
        if today in days:
            return "refused", 0
        days[today] = days.get(today - timedelta(days=1), 0) + 1
        points = 5 + BONUSES.get(days[today], 0)
        self.earn(user_id, points, a_year_after(now), now)
        self.unlock(user_id, now)
        return "done", points

    def complete(self, user_id: int, task_id: int, now: datetime) -> str:
        """What pressing the button does."""
        if self.is_suspended(user_id, now):
            return "suspended"
        task, done = self.tasks[task_id], self.members[user_id]["done"]
        since = {
            "daily": start_of(day_of(now)),
            "weekly": start_of(monday_of(now)),
            "once": datetime.min.replace(tzinfo=UTC),
        }[task["frequency"]]
        if any(which == task_id and at >= since for which, _, at in done):
            return "already"
        today = sum(points for _, points, at in done if at >= start_of(day_of(now)))
        week = sum(points for _, points, at in done if at >= start_of(monday_of(now)))
        if today + task["points"] > 1_000 or week + task["points"] > 5_000:
            return "cap"
        done.append((task_id, task["points"], now))
        self.earn(user_id, task["points"], task["ends"](now), now)
        self.unlock(user_id, now)
        return "done"

    def unlock(self, user_id: int, now: datetime) -> None:
        """What the member has reached by now, and what the points for that reach."""
        if self.is_suspended(user_id, now):
            return
        for achievement in self.achievements * len(self.achievements):
            member = self.members[user_id]
            made = [e for e in self.exchanges if e["user"] == user_id and not e["cancelled"]]
            counts = {
                "exchanges_made": len(made),
                "tasks_completed": len(member["done"]),
                "best_streak": max(member["days"].values(), default=0),
                "points_earned": member["ranked"],
            }
            is_reached = counts[achievement["measure"]] >= achievement["target"]
            if is_reached and achievement["key"] not in member["unlocked"]:
                member["unlocked"].append(achievement["key"])
                if achievement["points"]:
                    self.earn(user_id, achievement["points"], a_year_after(now), now)

    def exchange(self, user_id: int, item_id: int, key: str, now: datetime) -> tuple[str, int]:
        """(what is answered, points left afterwards)."""
        before = self.keys.get((user_id, key))
        if before is not None:
            same = before["item"] == item_id
            return ("replayed", before["left"]) if same else ("conflict", 0)
        if self.is_suspended(user_id, now):
            return "suspended", 0
        item = self.items[item_id]
        if item["stock"] == 0:
            return "sold out", 0
        if item["limit"] is not None and self._taken(user_id, item_id, now) >= item["limit"][0]:
            return "limit", 0
        if self.available(user_id, now) < item["points"]:
            return "too dear", 0
        self.settle(user_id, now)
        paid = self._pay(user_id, item["points"], now)
        item["stock"] -= 1
        made = {"user": user_id, "item": item_id, "at": now, "paid": paid, "cancelled": False}
        self.exchanges.append(made)
        left = self.available(user_id, now)
        self.keys[user_id, key] = {"item": item_id, "left": left}
        return "made", left

    def _taken(self, user_id: int, item_id: int, now: datetime) -> int:
        since = {
            "day": start_of(day_of(now)),
            "week": start_of(monday_of(now)),
            "month": start_of(day_of(now).replace(day=1)),
            "lifetime": datetime.min.replace(tzinfo=UTC),
        }[self.items[item_id]["limit"][1]]
        return sum(
            made["user"] == user_id
            and made["item"] == item_id
            and made["at"] >= since
            and not made["cancelled"]
            for made in self.exchanges
        )

    def _pay(self, user_id: int, price: int, now: datetime) -> list[tuple[Lot, int]]:
        member = self.members[user_id]
        member["redeemed"] += price
        member["changes"] += 1
        return self.take(self.live_lots(user_id, now), price)

    def take(self, lots: list[Lot], points: int) -> list[tuple[Lot, int]]:
        """Draw points from lots in their order; what each of them gave."""
        given = []
        for lot in lots:
            drawn = min(lot["points"], points)
            if drawn:
                given.append((lot, drawn))
                self.draw(lot, drawn, "used")
                points -= drawn
        assert points == 0
        return given
