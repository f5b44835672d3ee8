"""More ways to spoil the books: what members were given for bringing others."""

from tests.services.points.corruptions import Corruption

INVITE_CORRUPTIONS = (
    Corruption(
        "an invite was not rewarded as booked",
        "invite {invite} inviter",
        "UPDATE points_records SET source_reference = 'another' WHERE id = :hosts_lot",
        alone=True,
    ),
    Corruption(
        "an invite was not rewarded as booked",
        "invite {invite} invited",
        "UPDATE invites SET invited_points = invited_points + 1 WHERE id = :invite",
        alone=True,
    ),
    Corruption(
        "an invite was not rewarded as booked",
        "invite {invite} inviter",
        "DELETE FROM points_records WHERE id = :hosts_lot",
    ),
    Corruption(
        "a lot was not earned by one invite",
        "lot {guests_lot} of user {guest}",
        "UPDATE invites SET invited_points = 0, invited_record_id = NULL,"
        " invited_withheld = 'no_room' WHERE id = :invite",
        alone=True,
    ),
    Corruption(
        "a lot was not earned by one invite",
        "lot {spare_lot} of user {alice}",
        "UPDATE points_records SET source = 'invite' WHERE id = :spare_lot",
        alone=True,
    ),
    Corruption(
        "a lot was not earned by one invite",
        "lot {hosts_lot} of user {host}",
        "UPDATE invites SET first_task_at = accepted_at, rewarded_at = accepted_at,"
        " inviter_points = 100, inviter_record_id = :hosts_lot, invited_withheld = 'no_room'"
        " WHERE id = :open_invite",
        without=("invites.uq_invites_inviter_record_id",),
    ),
    Corruption(
        "a link did not bring what its invites say",
        "share {invite_link}",
        "UPDATE shares SET conversions = conversions + 1 WHERE id = :invite_link",
        alone=True,
    ),
    Corruption(
        "a link did not bring what its invites say",
        "share {invite_link}",
        "UPDATE shares SET points_earned = points_earned - 1 WHERE id = :invite_link",
        alone=True,
    ),
    Corruption(
        "an invite is not by the owner of its link",
        "invite {open_invite}",
        "UPDATE invites SET inviter_id = :alice WHERE id = :open_invite",
        alone=True,
    ),
)
