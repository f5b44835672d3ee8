"""The schema: every column's root fields under one Query, Mutation and Subscription."""

from functools import cache

import strawberry
from graphql import (
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    print_schema,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.utils.str_converters import to_camel_case

from resolvers.achievements import AchievementsMutation, AchievementsQuery
from resolvers.campaigns import CampaignsMutation, CampaignsQuery
from resolvers.catalogue import CatalogueMutation, CatalogueQuery
from resolvers.exchange import ExchangeMutation, ExchangeQuery
from resolvers.experiments import ExperimentsMutation, ExperimentsQuery
from resolvers.holds import HoldsMutation, HoldsQuery
from resolvers.inputs import prepare_inputs
from resolvers.kpis import KpisMutation, KpisQuery
from resolvers.leaderboard import LeaderboardQuery
from resolvers.live import LiveSubscription
from resolvers.monitoring import MonitoringMutation, MonitoringQuery
from resolvers.notifications import NotificationsMutation, NotificationsQuery
from resolvers.operators import OperatorsQuery
from resolvers.points import PointsMutation, PointsQuery
from resolvers.recommendations import RecommendationsQuery
from resolvers.sharing import SharingMutation, SharingQuery
from resolvers.tasks import TasksMutation, TasksQuery
from resolvers.users import UsersMutation, UsersQuery
from resolvers.wishes import WishesMutation
from schema.rewards import Coupon
from schema.scalars import SCALARS


@strawberry.type
class Query(
    UsersQuery,
    PointsQuery,
    HoldsQuery,
    TasksQuery,
    CatalogueQuery,
    ExchangeQuery,
    AchievementsQuery,
    NotificationsQuery,
    LeaderboardQuery,
    CampaignsQuery,
    RecommendationsQuery,
    SharingQuery,
    ExperimentsQuery,
    KpisQuery,
    OperatorsQuery,
    MonitoringQuery,
):
    """What can be asked."""


@strawberry.type
class Mutation(
    TasksMutation,
    ExchangeMutation,
    AchievementsMutation,
    PointsMutation,
    HoldsMutation,
    CatalogueMutation,
    UsersMutation,
    WishesMutation,
    NotificationsMutation,
    CampaignsMutation,
    SharingMutation,
    ExperimentsMutation,
    KpisMutation,
    MonitoringMutation,
):
    """What can be changed."""


@strawberry.type
class Subscription(LiveSubscription):
    """What can be watched."""


_camel_case = cache(to_camel_case)


class _RememberedNames(NameConverter):
    """Strawberry turns snake_case into camelCase anew for every argument of every request."""

    def apply_naming_config(self, name: str) -> str:
        """The name in the contract of a name in Python."""
        return _camel_case(name)


def build_schema() -> strawberry.Schema:
    """The schema as it is served."""
    names = _RememberedNames()
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Coupon],
        config=StrawberryConfig(scalar_map=SCALARS, name_converter=names),
    )
    prepare_inputs(graphql_schema(schema), names)
    _drop_null_defaults(graphql_schema(schema))
    return schema


def graphql_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """graphql-core's schema inside Strawberry's, which has no public way to it."""
    return schema._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def export_schema(schema: strawberry.Schema) -> str:
    """The schema as text, as clients find it by introspection."""
    return print_schema(graphql_schema(schema)) + "\n"


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Serve `name: Type` where Strawberry says `name: Type = null`, as the contract does.

    Python gives the same None for an argument that is left out.
    """
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            values = list(kind.fields.values())
        elif isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            values = [arg for field in kind.fields.values() for arg in field.args.values()]
        else:
            continue
        for value in values:
            if value.default_value is None:
                value.default_value = Undefined
