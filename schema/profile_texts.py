"""What a member is told about a profile that breaks a rule."""

from models.users import EARLIEST_BIRTH_YEAR, MOST_INTERESTS
from services.messages import message
from services.users import update_profile
from services.users.profile import LONGEST_INTEREST


def what_is_wrong(error: update_profile.ProfileInvalid, locale: str) -> str:
    """The rule that was broken, in the member's language."""
    match error:
        case update_profile.AvatarInvalid():
            return message(
                locale,
                "The picture needs an http or https address of at most {longest} characters.",
                longest=update_profile.LONGEST_URL,
            )
        case update_profile.LocaleInvalid():
            return message(locale, "The language needs a tag such as zh-CN or en.")
        case update_profile.TimezoneInvalid():
            return message(locale, "The time zone needs a name such as Asia/Shanghai.")
        case update_profile.BirthYearInvalid():
            # As text: a year is written without separators.
            years = {"earliest": str(EARLIEST_BIRTH_YEAR), "latest": str(error.latest)}
            return message(
                locale, "The year of birth lies between {earliest} and {latest}.", **years
            )
        case update_profile.InterestsInvalid():
            return message(
                locale,
                "At most {most} interests, each of 1 to {longest} characters.",
                most=MOST_INTERESTS,
                longest=LONGEST_INTEREST,
            )
        case _:
            raise AssertionError(f"no text for {type(error).__name__}")
