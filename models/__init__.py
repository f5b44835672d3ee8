"""Tables: columns, constraints and indexes. Nothing here decides anything."""

from models.base import Base
from models.catalogue import ExchangeItem, ItemDailyExchanges, Wish
from models.erasure import ErasedSubject, ErasureSalt
from models.exchange import CouponCode, Exchange, Shipment, UserCoupon, UserVip
from models.imports import FileImport
from models.leaderboard import DailyEarnings, RankHistory, RankSnapshot
from models.notifications import (
    Campaign,
    Device,
    PushDelivery,
    PushPreferences,
    PushRecord,
    ReminderDay,
)
from models.operators import OperatorAction, Reason
from models.outbox import OutboxMessage, ScheduledJob
from models.points import IdempotencyKey, LotDraw, PointsAuditLog, PointsGrant, PointsRecord
from models.tasks import CheckIn, Event, Task, UserTask
from models.users import User

__all__ = [
    "Base",
    "Campaign",
    "CheckIn",
    "CouponCode",
    "DailyEarnings",
    "Device",
    "ErasedSubject",
    "ErasureSalt",
    "Event",
    "Exchange",
    "ExchangeItem",
    "FileImport",
    "IdempotencyKey",
    "ItemDailyExchanges",
    "LotDraw",
    "OperatorAction",
    "OutboxMessage",
    "PointsAuditLog",
    "PointsGrant",
    "PointsRecord",
    "PushDelivery",
    "PushPreferences",
    "PushRecord",
    "RankHistory",
    "RankSnapshot",
    "Reason",
    "ReminderDay",
    "ScheduledJob",
    "Shipment",
    "Task",
    "User",
    "UserCoupon",
    "UserTask",
    "UserVip",
    "Wish",
]
