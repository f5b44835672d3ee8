"""What a member reads when a task, or the check-in, cannot be completed."""

from services.messages import message
from services.tasks.reward import NoRoomForReward
from services.tasks.rules import TaskNotCompletable, TaskRefusal


def why_refused(error: TaskNotCompletable, locale: str) -> str:
    """The reason in the member's language."""
    match error.reason:
        case TaskRefusal.ALREADY_COMPLETED if error.is_check_in:
            return message(locale, "You have checked in today already.")
        case TaskRefusal.ALREADY_COMPLETED:
            return message(locale, "You have completed this task already.")
        case TaskRefusal.NOT_STARTED:
            return message(locale, "This task has not started yet.")
        case TaskRefusal.ENDED:
            return message(locale, "This task has ended.")
        case TaskRefusal.INACTIVE:
            return message(locale, "This task is not available.")
        case TaskRefusal.REQUIREMENT_UNMET if isinstance(error, NoRoomForReward):
            return message(locale, "Your balance cannot hold any more points.")
        case TaskRefusal.REQUIREMENT_UNMET:
            return message(locale, "The requirement of this task is not met yet.")
