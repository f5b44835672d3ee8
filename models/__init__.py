"""Tables: columns, constraints and indexes. Nothing here decides anything."""

from models.base import Base
from models.catalogue import ExchangeItem, ItemDailyExchanges
from models.exchange import Exchange, Shipment, UserCoupon, UserVip
from models.outbox import OutboxMessage
from models.points import IdempotencyKey, LotDraw, PointsAuditLog, PointsRecord
from models.tasks import CheckIn, Event, Task, UserTask
from models.users import User

__all__ = [
    "Base",
    "CheckIn",
    "Event",
    "Exchange",
    "ExchangeItem",
    "IdempotencyKey",
    "ItemDailyExchanges",
    "LotDraw",
    "OutboxMessage",
    "PointsAuditLog",
    "PointsRecord",
    "Shipment",
    "Task",
    "User",
    "UserCoupon",
    "UserTask",
    "UserVip",
]
