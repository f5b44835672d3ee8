"""The signed-in user, and what they and operators change of one."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.users import Gender
from schema.context import Info
from schema.ids import encode_id
from schema.node import Node, PageInfo, page_info
from schema.notifications import PushPreferences
from schema.points import Balance, load_balance
from schema.problems import InvalidInput, NotFound
from schema.rewards import VipMembership
from services.calendar import local_day
from services.notifications.decide import Preferences
from services.paging import Page
from services.tasks.check_in import running_streak
from services.users import profile

strawberry.enum(Gender)


@strawberry.type(description="The signed-in user, or any user to an operator.")
class User(Node):
    """A person with a balance."""

    username: str
    email: str | None
    phone: str | None
    avatar_url: str | None
    locale: str
    timezone: str
    interests: list[str]
    created_at: datetime
    last_login_at: datetime | None
    suspended_until: datetime | None
    user_id: strawberry.Private[int]

    @strawberry.field
    async def balance(self, info: Info) -> Balance:
        """What the user has."""
        return await load_balance(info, self.user_id)

    @strawberry.field
    async def vip(self, info: Info) -> list[VipMembership]:
        """Running memberships, highest level first."""
        held = await info.context.loaders.memberships.load(self.user_id)
        return [VipMembership.of(membership) for membership in held]

    @strawberry.field
    async def check_in_streak(self, info: Info) -> int:
        """Consecutive days signed in, up to today or yesterday; 0 once a day was missed."""
        last = await info.context.loaders.last_check_in.load(self.user_id)
        return running_streak(last, local_day(info.context.now(), info.context.mall.zone))

    @strawberry.field
    async def push_preferences(self, info: Info) -> PushPreferences:
        """What the user wants to be told, and when not."""
        said = await info.context.loaders.push_preferences.load(self.user_id)
        return PushPreferences.of(said or Preferences())

    @classmethod
    def of(cls, user: profile.User) -> "User":
        """The contract's view of a user."""
        return cls(
            id=encode_id("User", user.id),
            username=user.username,
            email=user.email,
            phone=user.phone,
            avatar_url=user.avatar_url,
            locale=user.locale,
            timezone=user.timezone,
            interests=list(user.interests),
            created_at=user.created_at,
            last_login_at=user.last_login_at,
            suspended_until=user.suspended_until,
            user_id=user.id,
        )


@strawberry.type
class UserEdge:
    """A user in a list."""

    cursor: str
    node: User


@strawberry.type
class UserConnection:
    """A page of users."""

    edges: list[UserEdge]
    nodes: list[User]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[profile.User]) -> "UserConnection":
        """The contract's view of a page of users."""
        nodes = [User.of(user) for user in page.rows]
        edges = [UserEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))


@strawberry.input
class UpdateProfileInput:
    """What to change: a field that is left out stays, null clears it where it may be empty."""

    avatar_url: str | None = strawberry.UNSET
    locale: str | None = strawberry.UNSET
    timezone: str | None = strawberry.UNSET
    gender: Gender | None = strawberry.UNSET
    birth_year: int | None = strawberry.UNSET
    interests: list[str] | None = strawberry.UNSET


@strawberry.type
class UpdateProfileSuccess:
    """The user as they now are."""

    user: User


UpdateProfileResult = Annotated[
    UpdateProfileSuccess | InvalidInput, strawberry.union("UpdateProfileResult")
]


@strawberry.input
class SuspendUserInput:
    """`until`: in the future; null lifts the suspension. `reason`: 1 to 500 characters."""

    user_id: strawberry.ID
    until: datetime | None = None
    reason: str


@strawberry.type
class SuspendUserSuccess:
    """The user as they now are."""

    user: User


SuspendUserResult = Annotated[SuspendUserSuccess | NotFound, strawberry.union("SuspendUserResult")]
