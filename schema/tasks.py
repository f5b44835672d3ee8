"""Tasks, check-ins, and events from other systems."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.tasks import TaskFrequency
from schema.achievements import Achievement, load_unlocked
from schema.context import Info
from schema.ids import encode_id
from schema.node import Node
from schema.points import Balance, PointsRecord, load_balance
from schema.problems import (
    InvalidInput,
    LimitReached,
    MemberSuspended,
    NotFound,
    TaskNotCompletable,
    VerificationRequired,
)
from schema.progress import TaskProgress
from schema.scalars import JSON, Points
from services.tasks import check_in, events
from services.tasks.complete import Completed
from services.tasks.rules import MemberTask, TaskStatus

strawberry.enum(TaskFrequency)
strawberry.enum(TaskStatus)


@strawberry.type
class Task(Node):
    """What a member does to earn points."""

    name: str
    description: str | None
    points_reward: Points
    frequency: TaskFrequency
    status: TaskStatus
    progress: TaskProgress
    starts_at: datetime | None
    ends_at: datetime | None
    available_again_at: datetime | None = strawberry.field(
        description="When a completed task can be completed again; null where it never can."
    )
    config: JSON

    @classmethod
    def of(cls, seen: MemberTask) -> "Task":
        """The contract's view of a task, as one member sees it."""
        task = seen.task
        return cls(
            id=encode_id("Task", task.id),
            name=task.name,
            description=task.description,
            points_reward=task.points_reward,
            frequency=task.frequency,
            status=seen.status,
            progress=TaskProgress(current=seen.current, target=task.rules.target),
            starts_at=task.starts_at,
            ends_at=task.ends_at,
            available_again_at=seen.available_again_at,
            config=JSON(task.config),
        )


@strawberry.input
class CompleteTaskInput:
    """Which task; `verificationToken` where the task demands a captcha."""

    task_id: strawberry.ID
    verification_token: str | None = None


@strawberry.type
class CompleteTaskSuccess:
    """A task that was completed."""

    task: Task
    points_earned: Points
    points_record: PointsRecord
    user_id: strawberry.Private[int]
    unlocked_ids: strawberry.Private[tuple[int, ...]]

    @strawberry.field
    async def unlocked(self, info: Info) -> list[Achievement]:
        """The achievements that it unlocked."""
        return await load_unlocked(info, self.user_id, self.unlocked_ids)

    @strawberry.field
    async def balance(self, info: Info) -> Balance:
        """The balance afterwards."""
        return await load_balance(info, self.user_id)

    @classmethod
    def of(cls, completed: Completed) -> "CompleteTaskSuccess":
        """The contract's view of a completed task."""
        lot = completed.lot
        return cls(
            task=Task.of(completed.member_task),
            points_earned=lot.original_points,
            points_record=PointsRecord.of(lot),
            user_id=lot.user_id,
            unlocked_ids=completed.unlocked,
        )


CompleteTaskResult = Annotated[
    CompleteTaskSuccess
    | NotFound
    | TaskNotCompletable
    | LimitReached
    | VerificationRequired
    | MemberSuspended,
    strawberry.union(name="CompleteTaskResult"),
]


@strawberry.input
class CheckInInput:
    """`verificationToken` where the mall demands a captcha."""

    verification_token: str | None = None


@strawberry.type
class StreakBonus:
    """What a day of the streak adds."""

    streak: int
    points: Points


@strawberry.type
class CheckInSuccess:
    """A day that was signed in."""

    streak: int
    points_earned: Points
    bonus_points: Points = strawberry.field(
        description="The part of pointsEarned that the streak added."
    )
    next_bonus: StreakBonus | None
    user_id: strawberry.Private[int]
    unlocked_ids: strawberry.Private[tuple[int, ...]]

    @strawberry.field
    async def unlocked(self, info: Info) -> list[Achievement]:
        """The achievements that it unlocked."""
        return await load_unlocked(info, self.user_id, self.unlocked_ids)

    @strawberry.field
    async def balance(self, info: Info) -> Balance:
        """The balance afterwards."""
        return await load_balance(info, self.user_id)

    @classmethod
    def of(cls, done: check_in.CheckedIn) -> "CheckInSuccess":
        """The contract's view of a check-in."""
        ahead = check_in.next_bonus(done.streak)
        return cls(
            streak=done.streak,
            points_earned=done.points,
            bonus_points=done.bonus_points,
            next_bonus=StreakBonus(streak=ahead.streak, points=ahead.points),
            user_id=done.user_id,
            unlocked_ids=done.unlocked,
        )


CheckInResult = Annotated[
    CheckInSuccess | TaskNotCompletable | VerificationRequired | MemberSuspended,
    strawberry.union(name="CheckInResult"),
]


@strawberry.input(
    description="Something a user did elsewhere. `eventId` makes sending it again harmless."
)
class EventInput:
    """An event."""

    event_id: str
    user_id: strawberry.ID
    type: str
    amount: float | None = None
    occurred_at: datetime
    attributes: JSON | None = None


@strawberry.input
class RecordEventsInput:
    """Up to 1,000 events."""

    events: list[EventInput]


@strawberry.type
class RejectedEvent:
    """An event that was not recorded, and why."""

    event_id: str
    message: str


@strawberry.type
class RecordEventsSuccess:
    """What a call changed."""

    recorded: int
    duplicates: int
    tasks_completed: int
    points_earned: Points
    rejected: list[RejectedEvent]

    @classmethod
    def of(cls, result: events.RecordedEvents) -> "RecordEventsSuccess":
        """The contract's view of what a call changed."""
        rejected = [RejectedEvent(event_id=r.event_id, message=r.message) for r in result.rejected]
        return cls(
            recorded=result.recorded,
            duplicates=result.duplicates,
            tasks_completed=result.tasks_completed,
            points_earned=result.points_earned,
            rejected=rejected,
        )


RecordEventsResult = Annotated[
    RecordEventsSuccess | InvalidInput, strawberry.union(name="RecordEventsResult")
]


@strawberry.input
class SaveTaskInput:
    """All that is decided of a task: what is left out is emptied, but for `config`."""

    id: strawberry.ID | None = None
    name: str
    description: str | None = None
    points_reward: Points
    frequency: TaskFrequency
    is_active: bool = True
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    config: JSON | None = strawberry.field(
        default=None, description="The task's rules; null leaves them as they are."
    )


@strawberry.type
class SaveTaskSuccess:
    """The task as it now is, as the operator sees it."""

    task: Task


SaveTaskResult = Annotated[
    SaveTaskSuccess | NotFound | InvalidInput, strawberry.union(name="SaveTaskResult")
]
