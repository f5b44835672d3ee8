"""One loader per edge: fields ask for one, the loader reads for all of them in one statement."""

from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.dataloader import DataLoader

from models.catalogue import LimitPeriod
from services.achievements.browse import AchievementOf, MemberAchievement, find_achievements
from services.calendar import Clock
from services.catalogue.items import Item, items_by_id
from services.catalogue.popularity import exchange_counts
from services.catalogue.wishes import WishOf, find_wishes
from services.exchange.decide import Exchange
from services.exchange.history import (
    draws_by_payment,
    exchanges_by_id,
    memberships,
    rewards_by_exchange,
)
from services.exchange.limits import count_taken
from services.exchange.rewards import Reward, VipMembership
from services.experiments.results import MetricSums, ResultsAsked, metric_sums
from services.leaderboard.history import DayRank, HistoryAsked, ranks_on_days
from services.leaderboard.profiles import Profile, Profiles, profiles_by_id
from services.notifications.campaigns import Progress, progress_by_campaign
from services.notifications.decide import Preferences
from services.notifications.preferences import preferences_by_user
from services.paging import Page
from services.points.account import Draw, Lot
from services.points.balance import Balance, balances
from services.points.lots import LotsAsked, count_lots, lots_pages
from services.tasks.check_in import LastCheckIn, last_check_ins
from services.users.profile import User, users_by_id

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
ProfilesAsked = tuple[tuple[int, ...], str | None]
OpenRead = Callable[[], AbstractAsyncContextManager[AsyncSession]]


class Loaders:
    """The loaders of one request, made when first asked for."""

    def __init__(self, read: OpenRead, clock: Clock, zone: ZoneInfo, profiles: Profiles) -> None:
        """`read` opens a session for one statement; `profiles` the process remembers."""
        self._profiles = profiles
        self._read = read
        self._clock = clock
        self._zone = zone

    def _loader(
        self, find: Callable[[AsyncSession, list[Any]], Awaitable[dict[Any, Any]]]
    ) -> DataLoader[Any, Any]:
        async def load(keys: list[Any]) -> list[Any]:
            async with self._read() as session:
                found = await find(session, keys)
            return [found.get(key) for key in keys]

        return DataLoader(load_fn=load)

    @cached_property
    def item(self) -> DataLoader[int, Item | None]:
        """An item by id."""
        return self._loader(items_by_id)

    @cached_property
    def exchange_count(self) -> DataLoader[int, int | None]:
        """How often an item was exchanged of late, by its id; None for never."""
        return self._loader(
            lambda session, ids: exchange_counts(session, ids, self._clock(), self._zone)
        )

    @cached_property
    def balance(self) -> DataLoader[int, Balance | None]:
        """A user's balance by user id."""
        return self._loader(lambda session, ids: balances(session, ids, self._clock()))

    @cached_property
    def lots(self) -> DataLoader[LotsAsked, Page[Lot]]:
        """A page of a user's lots with points left."""
        return self._loader(lambda session, asked: lots_pages(session, asked, self._clock()))

    @cached_property
    def lot_count(self) -> DataLoader[int, int | None]:
        """How many lots of a user have points left, by user id; None for none."""
        return self._loader(lambda session, ids: count_lots(session, ids, self._clock()))

    @cached_property
    def taken(self) -> DataLoader[tuple[int, int], dict[LimitPeriod, int] | None]:
        """What a user has taken of an item, by (user id, item id); None for nothing."""
        return self._loader(
            lambda session, pairs: count_taken(session, pairs, self._clock(), self._zone)
        )

    @cached_property
    def wished(self) -> DataLoader[WishOf, bool | None]:
        """Whether a user wishes for an item, by (user id, item id); None for no."""
        return self._loader(find_wishes)

    @cached_property
    def exchange(self) -> DataLoader[UUID, Exchange | None]:
        """An exchange by id."""
        return self._loader(exchanges_by_id)

    @cached_property
    def reward(self) -> DataLoader[UUID, Reward | None]:
        """What an exchange gave, by its id."""
        return self._loader(lambda session, ids: rewards_by_exchange(session, ids, self._clock()))

    @cached_property
    def draws(self) -> DataLoader[tuple[int, int], list[Draw]]:
        """The lots that paid, by (user id, number of the change of the balance)."""
        return self._loader(draws_by_payment)

    @cached_property
    def user(self) -> DataLoader[int, User | None]:
        """A user by id."""
        return self._loader(users_by_id)

    @cached_property
    def profiles(self) -> DataLoader[ProfilesAsked, dict[int, Profile]]:
        """What anyone may see of the users on a board, by their ids and the token read with it.

        One key a board, not one a user: a hundred futures would cost more than the board.
        """

        async def load(asked: list[ProfilesAsked]) -> list[dict[int, Profile]]:
            found: dict[str | None, dict[int, Profile]] = {}
            for token in {token for _, token in asked}:
                user_ids = {user for users, each in asked if each == token for user in users}
                found[token] = await self._profiles.find(user_ids, token, self._load_profiles)
            return [found[token] for _, token in asked]

        return DataLoader(load_fn=load)

    async def _load_profiles(self, user_ids: Collection[int]) -> dict[int, Profile]:
        async with self._read() as session:
            return await profiles_by_id(session, user_ids)

    @cached_property
    def rank_history(self) -> DataLoader[HistoryAsked, list[DayRank]]:
        """The ranks a user had on days that have ended."""
        return self._loader(ranks_on_days)

    @cached_property
    def memberships(self) -> DataLoader[int, list[VipMembership]]:
        """Running memberships by user id."""
        return self._loader(lambda session, ids: memberships(session, ids, self._clock()))

    @cached_property
    def last_check_in(self) -> DataLoader[int, LastCheckIn | None]:
        """The latest check-in by user id; None for never."""
        return self._loader(last_check_ins)

    @cached_property
    def achievement(self) -> DataLoader[AchievementOf, MemberAchievement | None]:
        """An achievement as a user sees it, by (user id, achievement id)."""
        return self._loader(find_achievements)

    @cached_property
    def push_preferences(self) -> DataLoader[int, Preferences | None]:
        """What a user wants to be told, by user id; None for who never said."""
        return self._loader(preferences_by_user)

    @cached_property
    def campaign_progress(self) -> DataLoader[UUID, Progress | None]:
        """How far a campaign has come, by its id; None while nobody has a push of it."""
        return self._loader(progress_by_campaign)

    @cached_property
    def metric_sums(self) -> DataLoader[ResultsAsked, MetricSums | None]:
        """What was measured of an experiment, by (experiment id, design, metric)."""
        return self._loader(metric_sums)
