"""What the demo members did: their history, decided by the same rules as in the real mall."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

from dev.demo.members import Member
from dev.demo.tastes import Taste, Tastes
from models.catalogue import LimitPeriod
from models.tasks import TaskFrequency
from services.calendar import local_day
from services.catalogue.items import Item
from services.errors import Refusal, VerificationRequired
from services.exchange.decide import ExchangeRequest, Placed, Settlement
from services.exchange.decide import decide as decide_exchange
from services.exchange.rewards import FreshCode, Shipping
from services.points.account import Account, Cause
from services.points.expiry import expiry_of
from services.points.ledger import expire_due, grant
from services.tasks.check_in import CheckedIn, CheckInRequest, LastCheckIn
from services.tasks.check_in import decide as decide_check_in
from services.tasks.complete import pay_task
from services.tasks.incoming_events import PURCHASE
from services.tasks.rules import Earned, Progress, Task, period_start

_SHIPPING = Shipping("演示收件人", "13800000000", "上海市演示区积分路 1 号")
_EXPIRING_IN_DAYS = (1, 3, 7, 30)
_LARGEST_TASK_REWARD = 150  # two a day stay below what tasks may pay


@dataclass(slots=True)
class History:
    """Everything that happened, ready to be written."""

    accounts: list[Account] = field(default_factory=list[Account])
    check_ins: list[CheckedIn] = field(default_factory=list[CheckedIn])
    progress: dict[tuple[int, int, date], Progress] = field(
        default_factory=dict[tuple[int, int, date], Progress]
    )
    placed: list[Placed] = field(default_factory=list[Placed])
    memberships: dict[tuple[int, int], datetime] = field(
        default_factory=dict[tuple[int, int], datetime]
    )
    sold: Counter[int] = field(default_factory=Counter[int])
    sold_by_day: Counter[tuple[date, int]] = field(default_factory=Counter[tuple[date, int]])
    last_visits: dict[int, datetime] = field(default_factory=dict[int, datetime])
    views: list[tuple[int, int, datetime]] = field(default_factory=list[tuple[int, int, datetime]])
    wishes: dict[tuple[int, int], datetime] = field(default_factory=dict[tuple[int, int], datetime])


@dataclass(slots=True)
class _World:
    """What the simulation draws on. `random` alone decides, so a seed gives one history."""

    zone: ZoneInfo
    now: datetime
    random: Random
    items: dict[int, Item]
    tasks: list[Task]
    tastes: Tastes
    history: History = field(default_factory=History)

    def fresh_id(self, moment: datetime) -> UUID:
        """A UUIDv7 of that moment that a seed determines."""
        value = (int(moment.timestamp() * 1000) << 80) | self.random.getrandbits(80)
        value = value & ~(0xF << 76) | (0x7 << 76)
        return UUID(int=value & ~(0x3 << 62) | (0x2 << 62))


def simulate(
    members: list[Member],
    items: dict[int, Item],
    tasks: list[Task],
    now: datetime,
    zone: ZoneInfo,
    random: Random,
) -> History:
    """Let every member live from joining to yesterday. Items are sold from unlimited stock."""
    world = _World(zone, now, random, items, tasks, Tastes(items, random))
    for member in members:
        _live(world, member)
    return world.history


def _live(world: _World, member: Member) -> None:
    account, last = Account(member.user_id), dict[int, LastCheckIn]()
    taste = world.tastes.draw(member.row["interests"], world.random)
    taken = Counter[int]()
    day = member.joined_at
    while day < world.now - timedelta(days=1):
        if world.random.random() < member.visits:
            _visit(world, member, taste, account, last, taken, day)
        day += timedelta(days=1)
    expire_due(account, world.now)
    if member.is_named:
        _let_points_expire(world, account)
    world.history.accounts.append(account)


def _visit(
    world: _World,
    member: Member,
    taste: Taste,
    account: Account,
    last: dict[int, LastCheckIn],
    taken: Counter[int],
    moment: datetime,
) -> None:
    random, history = world.random, world.history
    history.last_visits[account.user_id] = moment
    if local_day(moment, world.zone) != (last[account.user_id].day if last else None):
        request = CheckInRequest(account.user_id, is_verified=True, lot_id=world.fresh_id(moment))
        history.check_ins.append(decide_check_in(account, last, request, moment, world.zone))
    _browse(world, member.user_id, taste, moment + timedelta(minutes=2))
    for task in random.sample(world.tasks, random.randint(0, 2)):
        _do(world, account, task, moment)
    if random.random() < 0.25:
        _buy(world, account, moment + timedelta(minutes=5))
    if random.random() < member.spends or account.points > 20_000:
        _spend(world, taste, account, taken, moment + timedelta(minutes=9))


def _browse(world: _World, user_id: int, taste: Taste, moment: datetime) -> None:
    """Look at some things, whatever they cost, and wish for a few of them."""
    random, catalogue = world.random, list(world.items.values())
    for number in range(random.randint(0, 4)):
        item = world.tastes.choose(taste, catalogue, random)
        seen_at = moment + timedelta(seconds=20 * number)
        world.history.views.append((user_id, item.id, seen_at))
        if random.random() < 0.05:
            world.history.wishes.setdefault((user_id, item.id), seen_at)


def _do(world: _World, account: Account, task: Task, moment: datetime) -> None:
    key = (account.user_id, task.id, period_start(task.frequency, moment, world.zone))
    weekly = task.frequency is TaskFrequency.WEEKLY
    if key in world.history.progress or (weekly and world.random.random() < 0.5):
        return
    progress = Progress(*key)
    pay_task(account, task, progress, Earned(), world.fresh_id(moment), moment, world.zone)
    world.history.progress[key] = progress


def _buy(world: _World, account: Account, moment: datetime) -> None:
    points = min(5_000, int(world.random.lognormvariate(5, 1)) + 1)
    reference = f"order-{account.user_id}-{int(moment.timestamp())}"
    expires_at = expiry_of(PURCHASE, moment, world.zone)
    cause = Cause(PURCHASE, reference, "system")
    grant(account, world.fresh_id(moment), points, cause, expires_at, moment)


def _spend(
    world: _World, taste: Taste, account: Account, taken: Counter[int], moment: datetime
) -> None:
    affordable = [item for item in world.items.values() if item.points <= account.points]
    if not affordable:
        return
    item = world.tastes.choose(taste, affordable, world.random)
    outcome = _exchange(world, account, item, taken, moment)
    if isinstance(outcome, Placed):
        taken[item.id] += 1
        world.history.placed.append(outcome)
        world.history.sold[item.id] += 1
        world.history.sold_by_day[local_day(moment, world.zone), item.id] += 1


def _exchange(
    world: _World, account: Account, item: Item, taken: Counter[int], moment: datetime
) -> Placed | Refusal:
    request = ExchangeRequest(
        user_id=account.user_id,
        item_id=item.id,
        key="demo",
        shipping=_SHIPPING,
        is_verified=True,
        exchange_id=world.fresh_id(moment),
    )
    settlement = Settlement(
        now=moment,
        zone=world.zone,
        accounts={account.user_id: account},
        items={item.id: item},
        # All that was ever taken, for every period: stricter than the rule, never over it.
        taken={(account.user_id, item.id): dict.fromkeys(LimitPeriod, taken[item.id])},
        settled={},
        memberships=world.history.memberships,
        captcha=lambda: VerificationRequired("none", None),
        codes={item.id: iter([_code(world, item, moment)])},
    )
    return decide_exchange(settlement, [request])[0]


def _code(world: _World, item: Item, moment: datetime) -> FreshCode:
    prefix = item.config.get("prefix", "")
    return FreshCode(world.fresh_id(moment), f"{prefix}{world.random.getrandbits(80):020X}")


def _let_points_expire(world: _World, account: Account) -> None:
    granted_at = world.now - timedelta(days=60)
    for days in _EXPIRING_IN_DAYS:
        expires_at = world.now + timedelta(days=days, hours=-1)
        points = world.random.randrange(120, 900, 20)
        cause = Cause("campaign", None, "system")  # by no reference: nobody takes it back
        grant(account, world.fresh_id(granted_at), points, cause, expires_at, world.now)


def open_tasks(tasks: list[Task]) -> list[Task]:
    """The tasks that members of the demo did: those that a day's cap leaves room for."""
    return [task for task in tasks if task.points_reward <= _LARGEST_TASK_REWARD]
