"""What achievements are called: as operators wrote it, or by the catalogues for built-in ones."""

from services.messages import message


def name_of(key: str, own: str | None, locale: str) -> str:
    """The name of the achievement with that key, in the member's language."""
    return own or _built_in(key, locale)[0]


def description_of(key: str, own: str | None, locale: str) -> str:
    """What has to be done for it, in the member's language."""
    return own or _built_in(key, locale)[1]


def _built_in(key: str, locale: str) -> tuple[str, str]:
    """Name and description; raises KeyError for a key that is not built in."""
    texts = {
        "first_exchange": (
            message(locale, "First exchange"),
            message(locale, "Exchange points for the first time."),
        ),
        "ten_exchanges": (
            message(locale, "Regular customer"),
            message(locale, "Make {count} exchanges.", count=10),
        ),
        "week_streak": (
            message(locale, "A week in a row"),
            message(locale, "Check in on {count} days in a row.", count=7),
        ),
        "month_streak": (
            message(locale, "A month in a row"),
            message(locale, "Check in on {count} days in a row.", count=30),
        ),
        "hundred_tasks": (
            message(locale, "Task master"),
            message(locale, "Complete {count} tasks.", count=100),
        ),
        "ten_thousand_points": (
            message(locale, "Collector"),
            message(locale, "Earn {count} points in the mall.", count=10_000),
        ),
        "weekly_top_ten": (
            message(locale, "Top {count} of a week", count=10),
            message(locale, "Finish a week among the first {count}.", count=10),
        ),
        "weekly_champion": (
            message(locale, "Champion of a week"),
            message(locale, "Finish a week in the first place."),
        ),
    }
    return texts[key]
