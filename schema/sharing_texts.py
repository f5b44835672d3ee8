"""What a member reads when an invite cannot be accepted, or no more links can be made."""

from services.messages import message
from services.sharing.create import ShareCapReached
from services.sharing.invite import LONGEST_MEMBER_FOR, InviteNotAcceptable, InviteRefusal


def why_not_accepted(error: InviteNotAcceptable, locale: str) -> str:
    """The reason in the member's language."""
    match error.reason:
        case InviteRefusal.OWN:
            return message(locale, "This is your own invite: send it to somebody else.")
        case InviteRefusal.ACCEPTED_ANOTHER:
            return message(locale, "You have accepted an invite already.")
        case InviteRefusal.NOT_NEW:
            return message(
                locale,
                "Invites are for new members, in the first {days} days and before the first task.",
                days=LONGEST_MEMBER_FOR.days,
            )
        case InviteRefusal.IN_CIRCLE:
            return message(locale, "Whoever invites you was invited by you.")
        case InviteRefusal.SUSPENDED:
            return message(locale, "Your account is suspended.")


def why_no_more_links(error: ShareCapReached, locale: str) -> str:
    """The cap in the member's language."""
    return message(
        locale,
        "You can make {limit} new links a day. Those you have made still work.",
        limit=error.limit,
    )
