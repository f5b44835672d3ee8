"""Messages for tests."""

from services.notifications.providers import PushMessage


def message_to(token: str, number: int = 1) -> PushMessage:
    """A message with everything a message has."""
    return PushMessage(
        token=token,
        title="积分即将到期",
        body=f"{number} points expire tomorrow",
        data={"kind": "expiry_reminder", "recordId": str(number)},
        collapse_id=f"expiry:2026-11-22:{number}",
    )
