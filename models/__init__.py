"""Tables: columns, constraints and indexes. Nothing here decides anything."""

from models.achievements import Achievement, UserAchievement
from models.base import Base
from models.catalogue import ExchangeItem, ItemDailyExchanges, Wish
from models.erasure import ErasedSubject, ErasureSalt
from models.exchange import CouponCode, Exchange, Shipment, UserCoupon, UserVip
from models.experiments import Experiment, ExperimentAssignment, ExperimentEvent
from models.imports import FileImport
from models.kpis import (
    CohortMonth,
    DailyFigures,
    MemberDay,
    RequestCount,
    SatisfactionAnswer,
)
from models.leaderboard import (
    DailyEarnings,
    PeriodEarnings,
    PeriodEarningsKept,
    RankHistory,
    RankSnapshot,
)
from models.monitoring import Alert, LedgerCheck, MeasuredFigure
from models.notifications import (
    Campaign,
    Device,
    DeviceUser,
    PushDelivery,
    PushPreferences,
    PushRecord,
    ReminderDay,
)
from models.operators import OperatorAction, Reason
from models.outbox import OutboxMessage, ScheduledJob
from models.points import (
    IdempotencyKey,
    LotDraw,
    PointsAuditLog,
    PointsGrant,
    PointsRecord,
    PointsReversal,
)
from models.recommendations import (
    InterestItems,
    ItemNeighbours,
    PopularItem,
    RecommendationRun,
)
from models.sharing import Invite, Share, ShareVisit
from models.tasks import CheckIn, Event, Task, UserTask
from models.users import User

__all__ = [
    "Achievement",
    "Alert",
    "Base",
    "Campaign",
    "CheckIn",
    "CohortMonth",
    "CouponCode",
    "DailyEarnings",
    "DailyFigures",
    "Device",
    "DeviceUser",
    "ErasedSubject",
    "ErasureSalt",
    "Event",
    "Exchange",
    "ExchangeItem",
    "Experiment",
    "ExperimentAssignment",
    "ExperimentEvent",
    "FileImport",
    "IdempotencyKey",
    "InterestItems",
    "Invite",
    "ItemDailyExchanges",
    "ItemNeighbours",
    "LedgerCheck",
    "LotDraw",
    "MeasuredFigure",
    "MemberDay",
    "OperatorAction",
    "OutboxMessage",
    "PeriodEarnings",
    "PeriodEarningsKept",
    "PointsAuditLog",
    "PointsGrant",
    "PointsRecord",
    "PointsReversal",
    "PopularItem",
    "PushDelivery",
    "PushPreferences",
    "PushRecord",
    "RankHistory",
    "RankSnapshot",
    "Reason",
    "RecommendationRun",
    "ReminderDay",
    "RequestCount",
    "SatisfactionAnswer",
    "ScheduledJob",
    "Share",
    "ShareVisit",
    "Shipment",
    "Task",
    "User",
    "UserAchievement",
    "UserCoupon",
    "UserTask",
    "UserVip",
    "Wish",
]
