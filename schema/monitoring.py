"""Health of the mall, and alerts, for operators."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.monitoring import AlertSeverity
from schema.ids import encode_id
from schema.node import Node
from schema.problems import NotFound
from schema.scalars import JSON
from services.monitoring.browse import NotedAlert
from services.monitoring.health import Health, HealthStatus

strawberry.enum(AlertSeverity)
strawberry.enum(HealthStatus)


@strawberry.type
class Alert(Node):
    """Something that is, or was, wrong; open while `resolvedAt` is null."""

    type: str = strawberry.field(description="What it is about, as docs/alerts.md names it.")
    severity: AlertSeverity
    message: str = strawberry.field(description="For operators, in English.")
    first_seen_at: datetime
    last_seen_at: datetime
    occurrences: int
    acknowledged_at: datetime | None
    resolved_at: datetime | None

    @classmethod
    def of(cls, alert: NotedAlert) -> "Alert":
        """The contract's view of an alert."""
        return cls(
            id=encode_id("Alert", alert.id),
            type=alert.kind,
            severity=AlertSeverity(alert.severity),
            message=alert.message,
            first_seen_at=alert.first_seen_at,
            last_seen_at=alert.last_seen_at,
            occurrences=alert.occurrences,
            acknowledged_at=alert.acknowledged_at,
            resolved_at=alert.resolved_at,
        )


@strawberry.type
class SystemHealth:
    """How the mall does, as of some seconds ago at most."""

    status: HealthStatus
    metrics: JSON = strawberry.field(
        description="Figures by name; null for one that is not known; empty without the database."
    )
    alerts: list[str] = strawberry.field(description="What is wrong, in English.")
    checked_at: datetime

    @classmethod
    def of(cls, health: Health) -> "SystemHealth":
        """The contract's view of the mall's health."""
        return cls(
            status=health.status,
            metrics=JSON(dict(health.metrics)),
            alerts=list(health.alerts),
            checked_at=health.checked_at,
        )


@strawberry.input
class AcknowledgeAlertInput:
    """Which alert."""

    alert_id: strawberry.ID


@strawberry.type
class AcknowledgeAlertSuccess:
    """The alert, noted now or before."""

    alert: Alert


AcknowledgeAlertResult = Annotated[
    AcknowledgeAlertSuccess | NotFound, strawberry.union("AcknowledgeAlertResult")
]
