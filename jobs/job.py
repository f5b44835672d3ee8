"""What a job is: a name that outbox rows bear, and one operation behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from services.mall import Mall

Payload = Mapping[str, Any]
Together = Callable[[AsyncSession, Mall, Sequence[Payload]], Awaitable[None]]
"""Does what many rows ask for, in one transaction with the note that they are done."""
Step = Callable[[Mall, Payload], Awaitable[bool]]
"""Does a piece of what one row asks for, in transactions of its own; True while more remains."""
WorkT = TypeVar("WorkT")


class Queue(StrEnum):
    """Where a job waits. Each queue has workers of its own: none waits for what another holds up.

    What waits for providers, who may be slow, is apart from what only needs our own stores; what a
    member waits for is apart from what many get.
    """

    PROMPT = "prompt"
    BULK = "bulk"
    PROMPT_PUSHES = "prompt_pushes"
    BULK_PUSHES = "bulk_pushes"


@dataclass(frozen=True, slots=True)
class SetJob:
    """A job whose rows are done together, exactly once: up to `batch` of them in a transaction."""

    name: str
    run: Together
    queue: Queue = Queue.PROMPT
    batch: int = 200


@dataclass(frozen=True, slots=True)
class StepJob:
    """A long job: done in steps, any of which may happen twice, and is written for that."""

    name: str
    run: Step
    queue: Queue = Queue.BULK
    batch: int = 1


@dataclass(frozen=True, slots=True)
class TalkJob(Generic[WorkT]):
    """A job that talks to others, who may be slow, between two transactions and in none.

    `take` reads what the row is about. `talk` tells others, keeps in the work what they answered,
    and lets go of what it has not begun once the event is set. `note` writes the answers down, in
    one transaction with the note that the row is done; when it is told that the row is no longer
    this worker's, for another has taken it, then only what is true whoever had it. It may return
    when the row is to come again instead, for nobody could be told anything.

    The rows of a message are worked on at once: a thread is not one row that waits for others.
    """

    name: str
    take: Callable[[AsyncSession, Mall, Payload], Awaitable[WorkT]]
    talk: Callable[[Mall, WorkT, asyncio.Event], Awaitable[None]]
    note: Callable[[AsyncSession, Mall, WorkT, bool], Awaitable[datetime | None]]
    queue: Queue
    batch: int = 1


Job = SetJob | StepJob | TalkJob[Any]
