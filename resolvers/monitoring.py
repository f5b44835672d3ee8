"""Root fields of health and alerts: for operators."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.context import Info
from schema.ids import uuid_key
from schema.monitoring import (
    AcknowledgeAlertInput,
    AcknowledgeAlertResult,
    AcknowledgeAlertSuccess,
    Alert,
    SystemHealth,
)
from services.monitoring.browse import acknowledge_alert, recent_alerts
from services.transaction import transaction


@strawberry.type
class MonitoringQuery:
    """How the mall does."""

    @field_for(Audience.OPERATOR)
    async def system_health(self, info: Info) -> SystemHealth:
        """How the mall does, as of some seconds ago at most."""
        return SystemHealth.of(await info.context.mall.health.latest())

    @field_for(Audience.OPERATOR)
    async def alerts(self, info: Info, include_resolved: bool = False) -> list[Alert]:
        """What is wrong, newest first; with what was, the latest 100."""
        async with info.context.read() as session:
            found = await recent_alerts(session, include_resolved=include_resolved)
        return [Alert.of(each) for each in found]


@strawberry.type
class MonitoringMutation:
    """What operators do about it."""

    @mutation_for(Audience.OPERATOR)
    async def acknowledge_alert(
        self, info: Info, input: AcknowledgeAlertInput
    ) -> AcknowledgeAlertResult:
        """Say that somebody is at it: the alert is not repeated; it stays open until it is over."""
        context, alert_id = info.context, uuid_key(input.alert_id, "Alert")
        async with transaction(context.mall.stores.write) as session:
            alert = await acknowledge_alert(
                session, context.require_viewer().user_id, alert_id, context.now()
            )
        return AcknowledgeAlertSuccess(alert=Alert.of(alert))
