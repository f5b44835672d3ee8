"""Root fields of tasks, check-ins and events."""

from decimal import Decimal
from typing import Any

import strawberry

from models.tasks import TaskFrequency
from resolvers.access import Audience, field_for, mutation_for
from resolvers.verification import is_verified
from schema.context import Info
from schema.ids import int_key
from schema.tasks import (
    CheckInInput,
    CheckInResult,
    CheckInSuccess,
    CompleteTaskInput,
    CompleteTaskResult,
    CompleteTaskSuccess,
    EventInput,
    RecordEventsInput,
    RecordEventsResult,
    RecordEventsSuccess,
    SaveTaskInput,
    SaveTaskResult,
    SaveTaskSuccess,
    Task,
)
from services.errors import BadInput
from services.identifiers import new_id
from services.tasks.browse import member_tasks
from services.tasks.check_in import CheckInRequest
from services.tasks.complete import CompletionRequest
from services.tasks.events import record_events
from services.tasks.incoming_events import IncomingEvent
from services.tasks.save import TaskTerms, save_task
from services.transaction import transaction


@strawberry.type
class TasksQuery:
    """Tasks as the viewer sees them."""

    @field_for(Audience.MEMBER)
    async def tasks(
        self,
        info: Info,
        frequency: TaskFrequency | None = None,
        include_completed: bool = False,
    ) -> list[Task]:
        """Tasks that are active and have not ended."""
        context = info.context
        async with context.read() as session:
            seen = await member_tasks(
                session,
                context.require_viewer().user_id,
                context.now(),
                context.mall.zone,
                frequency=frequency,
                include_completed=include_completed,
            )
        return [Task.of(entry) for entry in seen]


@strawberry.type
class TasksMutation:
    """Earning points."""

    @mutation_for(Audience.MEMBER)
    async def complete_task(self, info: Info, input: CompleteTaskInput) -> CompleteTaskResult:
        """Claim a task's points."""
        request = CompletionRequest(
            user_id=info.context.require_viewer().user_id,
            task_id=int_key(input.task_id, "Task"),
            is_verified=await is_verified(info.context, input.verification_token),
            lot_id=new_id(),
        )
        return CompleteTaskSuccess.of(await info.context.mall.completions.submit(request))

    @mutation_for(Audience.MEMBER)
    async def check_in(self, info: Info, input: CheckInInput) -> CheckInResult:
        """Sign in for today."""
        request = CheckInRequest(
            user_id=info.context.require_viewer().user_id,
            is_verified=await is_verified(info.context, input.verification_token),
            lot_id=new_id(),
        )
        return CheckInSuccess.of(await info.context.mall.check_ins.submit(request))

    @mutation_for(Audience.SERVICE)
    async def record_events(self, info: Info, input: RecordEventsInput) -> RecordEventsResult:
        """Record what users did elsewhere."""
        mall = info.context.mall
        incoming = [_incoming(event) for event in input.events]
        async with transaction(mall.stores.bulk) as session:
            result = await record_events(
                session,
                incoming,
                clock=mall.clock,
                zone=mall.zone,
                recorded_by=f"user:{info.context.require_viewer().user_id}",
            )
        return RecordEventsSuccess.of(result)

    @mutation_for(Audience.OPERATOR)
    async def save_task(self, info: Info, input: SaveTaskInput) -> SaveTaskResult:
        """Create a task, or change the one of that id."""
        mall = info.context.mall
        terms = TaskTerms(
            name=input.name,
            description=input.description,
            points_reward=input.points_reward,
            frequency=input.frequency,
            is_active=input.is_active,
            starts_at=input.starts_at,
            ends_at=input.ends_at,
            config=input.config,
        )
        async with transaction(mall.stores.write) as session:
            seen = await save_task(
                session,
                info.context.require_viewer().user_id,
                terms,
                task_id=None if input.id is None else int_key(input.id, "Task"),
                clock=mall.clock,
                zone=mall.zone,
            )
        return SaveTaskSuccess(task=Task.of(seen))


def _incoming(event: EventInput) -> IncomingEvent:
    attributes: Any = event.attributes
    if attributes is not None and not isinstance(attributes, dict):
        raise BadInput("attributes must be an object")
    return IncomingEvent(
        event_id=event.event_id,
        user_id=_user_key(event.user_id),
        type=event.type,
        amount=None if event.amount is None else Decimal(str(event.amount)),
        occurred_at=event.occurred_at,
        attributes=attributes or {},
    )


def _user_key(user_id: str) -> int | None:
    """None for an id that is no user's: one bad event must not fail its neighbours."""
    try:
        return int_key(user_id, "User")
    except BadInput:
        return None
