"""How points expire, for a member to read."""

import strawberry

from services.messages import message, plural_message
from services.points.expiry import Lifetime
from services.points.expiry_rules import ExpiryRules


@strawberry.type(description="How points expire, for a member to read.")
class PointsRules:
    """The rules in numbers, and in words."""

    default_expiry: str
    reminder_days: list[int]
    extension_fee_percent: float
    extension_days: int
    explanation: str

    @classmethod
    def of(cls, rules: ExpiryRules, locale: str) -> "PointsRules":
        """The contract's view of the rules, in the reader's language."""
        return cls(
            default_expiry=_lifetime(rules.lifetime, locale),
            reminder_days=list(rules.reminder_days),
            extension_fee_percent=rules.extension_fee_percent,
            extension_days=rules.extension_days,
            explanation=_explanation(rules, locale),
        )


def _lifetime(lifetime: Lifetime, locale: str) -> str:
    match lifetime.unit:
        case "days":
            return plural_message(locale, "{count} day", "{count} days", lifetime.value)
        case "months":
            return plural_message(locale, "{count} month", "{count} months", lifetime.value)
        case "years":
            return plural_message(locale, "{count} year", "{count} years", lifetime.value)
        case "never":
            return message(locale, "no end")


def _explanation(rules: ExpiryRules, locale: str) -> str:
    return message(
        locale,
        "How long points last: {lifetime}, unless you are told otherwise when you earn them. We"
        " always spend the points first that end first, and remind you {reminders} days before"
        " points end. In the last {window} days of its life you can give a batch of points {days}"
        " days more, once, for {fee}% of its points (at least 1), taken from the batch itself.",
        lifetime=_lifetime(rules.lifetime, locale),
        reminders=rules.reminder_days,
        window=rules.extension_window_days,
        days=rules.extension_days,
        fee=rules.extension_fee_percent,
    )
