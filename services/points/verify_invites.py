"""What members were given for bringing others: a part of `ledger verify`."""

_SIDES = """
    SELECT id, rewarded_at, 'inviter' AS side, inviter_id AS user_id, inviter_points AS points,
           inviter_record_id AS record_id FROM invites
    UNION ALL
    SELECT id, rewarded_at, 'invited', invited_id, invited_points, invited_record_id FROM invites
"""
"""Both sides of every invite, each as a row."""

INVITE_CHECKS: dict[str, str] = {
    # That a side without a lot has a reason instead, the table itself holds.
    "an invite was not rewarded as booked": f"""
        SELECT 'invite ' || given.id || ' ' || given.side AS place,
               'lot ' || coalesce(lot.id::text, 'missing') || ' of '
               || coalesce(lot.original_points, 0) || ' for ' || given.points AS finding
        FROM ({_SIDES}) given LEFT JOIN points_records lot ON lot.id = given.record_id
        WHERE (given.points > 0 OR given.record_id IS NOT NULL)
          AND ((lot.user_id, lot.original_points, lot.source, lot.source_reference, lot.created_at)
               IS DISTINCT FROM
               (given.user_id, given.points, 'invite', given.id::text, given.rewarded_at))
    """,
    "a lot was not earned by one invite": f"""
        SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS place,
               lot.source || ' with ' || coalesce(given.rows, 0) || ' invite(s)' AS finding
        FROM points_records lot
        LEFT JOIN (SELECT record_id, count(*) AS rows FROM ({_SIDES}) sides
                   GROUP BY record_id) given
            ON given.record_id = lot.id
        WHERE coalesce(given.rows, 0) <> (lot.source = 'invite')::int
    """,
    "a link did not bring what its invites say": """
        SELECT 'share ' || share.id AS place,
               share.conversions || ' for ' || share.points_earned || ', invites '
               || coalesce(brought.rows, 0) || ' for ' || coalesce(brought.points, 0) AS finding
        FROM shares share
        LEFT JOIN (SELECT share_id, count(*) AS rows, sum(inviter_points) AS points
                   FROM invites WHERE rewarded_at IS NOT NULL GROUP BY share_id) brought
            ON brought.share_id = share.id
        WHERE (share.conversions, share.points_earned)
              IS DISTINCT FROM (coalesce(brought.rows, 0), coalesce(brought.points, 0))
    """,
    "an invite is not by the owner of its link": """
        SELECT 'invite ' || invite.id AS place,
               'by ' || invite.inviter_id || ', link of ' || coalesce(share.user_id, 0) AS finding
        FROM invites invite LEFT JOIN shares share ON share.id = invite.share_id
        WHERE invite.inviter_id IS DISTINCT FROM share.user_id
           OR share.kind IS DISTINCT FROM 'invite'
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it."""
