"""What a job is: a name that outbox rows bear, and one operation behind it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from services.mall import Mall

Payload = Mapping[str, Any]
Together = Callable[[AsyncSession, Mall, Sequence[Payload]], Awaitable[None]]
"""Does what many rows ask for, in one transaction with the note that they are done."""
Step = Callable[[Mall, Payload], Awaitable[bool]]
"""Does a piece of what one row asks for, in transactions of its own; True while more remains."""


class Queue(StrEnum):
    """Where a job waits: nobody waits for what is prompt behind what is bulky."""

    PROMPT = "prompt"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class SetJob:
    """A job whose rows are done together, exactly once: up to `batch` of them in a transaction."""

    name: str
    run: Together
    queue: Queue = Queue.PROMPT
    batch: int = 200


@dataclass(frozen=True, slots=True)
class StepJob:
    """A long job, or one that talks to others: done in steps, any of which may happen twice."""

    name: str
    run: Step
    queue: Queue = Queue.BULK
    batch: int = 1


Job = SetJob | StepJob
