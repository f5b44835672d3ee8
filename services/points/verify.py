"""Checking the books: every invariant of `domain.md`, Points, over the whole database."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.leaderboard.verify import RANKING_CHECKS
from services.points.verify_achievements import ACHIEVEMENT_CHECKS
from services.points.verify_holds import HOLD_CHECKS
from services.points.verify_invites import INVITE_CHECKS
from services.points.verify_returns import RETURN_CHECKS
from services.points.verify_rewards import REWARD_CHECKS
from services.points.verify_sources import SOURCE_CHECKS

_CHECKS: dict[str, str] = {
    "balance is not the sum of the active lots": """
        SELECT 'user ' || users.id AS place,
               'points ' || users.points || ', active lots ' || coalesce(lots.points, 0) AS finding
        FROM users
        LEFT JOIN (SELECT user_id, sum(points) AS points FROM points_records
                   WHERE status = 'active' GROUP BY user_id) lots ON lots.user_id = users.id
        WHERE users.points <> coalesce(lots.points, 0)
    """,
    "balance is not what the last audit row says": """
        SELECT 'user ' || users.id AS place,
               'points ' || users.points || ', last row ' || coalesce(last.points_after, 0)
               AS finding
        FROM users
        LEFT JOIN (SELECT DISTINCT ON (user_id) user_id, sequence, points_after
                   FROM points_audit_log ORDER BY user_id, sequence DESC) last
            ON last.user_id = users.id
        WHERE users.points <> coalesce(last.points_after, 0)
    """,
    "audit rows are missing, or one too many": """
        SELECT 'user ' || users.id AS place,
               'expected ' || users.audit_sequence || ' rows, found ' || coalesce(log.rows, 0)
               || ' up to number ' || coalesce(log.last, 0) AS finding
        FROM users
        LEFT JOIN (SELECT user_id, count(*) AS rows, max(sequence) AS last
                   FROM points_audit_log GROUP BY user_id) log ON log.user_id = users.id
        WHERE users.audit_sequence <> coalesce(log.rows, 0)
           OR users.audit_sequence <> coalesce(log.last, 0)
    """,
    "an audit row does not begin where the one before ended": """
        SELECT 'user ' || user_id || ' row ' || sequence AS place,
               'before ' || points_before || ', previous after ' || previous AS finding
        FROM (SELECT user_id, sequence, points_before,
                     lag(points_after, 1, 0::bigint)
                         OVER (PARTITION BY user_id ORDER BY sequence) AS previous
              FROM points_audit_log) chained
        WHERE points_before <> previous
    """,
    "an audit row does not add up": """
        SELECT 'user ' || user_id || ' row ' || sequence AS place,
               points_before || ' + ' || amount || ' <> ' || points_after AS finding
        FROM points_audit_log WHERE points_before + amount <> points_after
    """,
    "lifetime sums do not explain the balance": """
        SELECT 'user ' || id AS place,
               'earned ' || lifetime_earned || ' - redeemed ' || lifetime_redeemed || ' - expired '
               || lifetime_expired || ' + adjusted ' || lifetime_adjusted || ' <> ' || points
               AS finding
        FROM users
        WHERE lifetime_earned - lifetime_redeemed - lifetime_expired + lifetime_adjusted <> points
    """,
    "lifetime sums are not those of the audit log": """
        SELECT 'user ' || users.id AS place,
               'booked ' || concat_ws('/', users.lifetime_earned, users.lifetime_redeemed,
                                      users.lifetime_expired, users.lifetime_adjusted)
               || ', log ' || concat_ws('/', log.earned, log.redeemed, log.expired, log.adjusted)
               AS finding
        FROM users
        JOIN (SELECT users.id AS user_id,
                     coalesce(sum(amount) FILTER (WHERE action IN ('earn', 'reverse')), 0)
                         AS earned,
                     -coalesce(sum(amount) FILTER (WHERE action IN ('redeem', 'extend', 'refund')),
                               0) AS redeemed,
                     -coalesce(sum(amount) FILTER (WHERE action = 'expire'), 0) AS expired,
                     coalesce(sum(amount) FILTER (WHERE action = 'adjust'), 0) AS adjusted
              FROM users LEFT JOIN points_audit_log ON user_id = users.id GROUP BY users.id) log
            ON log.user_id = users.id
        WHERE (users.lifetime_earned, users.lifetime_redeemed, users.lifetime_expired,
               users.lifetime_adjusted)
              IS DISTINCT FROM (log.earned, log.redeemed, log.expired, log.adjusted)
    """,
    "a lot is below zero or above what was granted": """
        SELECT 'lot ' || id || ' of user ' || user_id AS place,
               points || ' of ' || original_points AS finding
        FROM points_records WHERE points < 0 OR points > original_points
    """,
    "a lot's points and draws are not what was granted": """
        SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS place,
               lot.points || ' left + ' || coalesce(draws.points, 0) || ' drawn + '
               || lot.withheld_points || ' withheld + ' || lot.rejected_points
               || ' rejected <> ' || lot.original_points AS finding
        FROM points_records lot
        LEFT JOIN (SELECT points_record_id, sum(points) AS points FROM lot_draws
                   GROUP BY points_record_id) draws ON draws.points_record_id = lot.id
        WHERE lot.points + coalesce(draws.points, 0) + lot.withheld_points + lot.rejected_points
              <> lot.original_points
    """,
    "a lot and the audit row that granted it differ": """
        SELECT 'lot ' || coalesce(lot.id::text, earned.lot) || ' of user '
               || coalesce(lot.user_id, earned.user_id) AS place,
               coalesce(lot.granted || ' until ' || coalesce(lot.expires_at::text, 'never'),
                        'no lot') || ', granted '
               || coalesce(earned.amount || ' until ' || coalesce(earned.expires_at, 'never'),
                           'nothing') AS finding
        FROM (SELECT *, original_points - withheld_points - rejected_points AS granted
              FROM points_records
              WHERE status <> 'pending'
                AND withheld_points + rejected_points < original_points) lot
        FULL JOIN (SELECT DISTINCT ON (user_id, lot) user_id, lot, expires_at,
                          first_value(amount) OVER (PARTITION BY user_id, lot ORDER BY sequence)
                              AS amount
                   FROM (SELECT user_id, sequence, amount, details ->> 'lot' AS lot,
                                details ->> 'expires_at' AS expires_at
                         FROM points_audit_log
                         WHERE action = 'earn' OR details ? 'lot') said
                   ORDER BY user_id, lot, sequence DESC) earned
            ON earned.lot = lot.id::text
        WHERE lot.user_id IS DISTINCT FROM earned.user_id
           OR lot.granted IS DISTINCT FROM earned.amount
           OR lot.expires_at IS DISTINCT FROM earned.expires_at::timestamptz
    """,
    "expired lots are not those of the audit log": """
        SELECT 'user ' || coalesce(lots.user_id, log.user_id) AS place,
               'expired lots ' || coalesce(lots.points, 0) || ', log ' || coalesce(log.points, 0)
               AS finding
        FROM (SELECT user_id, sum(points) AS points FROM points_records
              WHERE status = 'expired' GROUP BY user_id) lots
        FULL JOIN (SELECT user_id, -sum(amount) AS points FROM points_audit_log
                   WHERE action = 'expire' GROUP BY user_id) log ON log.user_id = lots.user_id
        WHERE coalesce(lots.points, 0) <> coalesce(log.points, 0)
    """,
    "a lot's status contradicts its points": """
        SELECT 'lot ' || id || ' of user ' || user_id AS place,
               status || ' with ' || points || ' points' AS finding
        FROM points_records
        WHERE (status = 'used' AND points <> 0) OR (status = 'active' AND points = 0)
    """,
    "a user's draw is from another user's lot": """
        SELECT 'user ' || draw.user_id || ' row ' || draw.sequence AS place,
               'lot ' || lot.id || ' of user ' || lot.user_id AS finding
        FROM lot_draws draw JOIN points_records lot ON lot.id = draw.points_record_id
        WHERE draw.user_id <> lot.user_id
    """,
    "what was drawn is not what the audit row took": """
        SELECT 'user ' || log.user_id || ' row ' || log.sequence AS place,
               log.action || ' ' || log.amount || ', drawn ' || coalesce(draws.points, 0)
               AS finding
        FROM points_audit_log log
        LEFT JOIN (SELECT user_id, sequence, sum(points) AS points FROM lot_draws
                   GROUP BY user_id, sequence) draws USING (user_id, sequence)
        WHERE ((log.action IN ('redeem', 'extend', 'refund', 'reverse')
                OR (log.action = 'adjust' AND log.amount < 0))
               AND -log.amount <> coalesce(draws.points, 0))
           OR ((log.action IN ('earn', 'expire') OR (log.action = 'adjust' AND log.amount > 0))
               AND draws.points IS NOT NULL)
    """,
}

ALL_CHECKS = (
    _CHECKS
    | REWARD_CHECKS
    | RETURN_CHECKS
    | SOURCE_CHECKS
    | RANKING_CHECKS
    | ACHIEVEMENT_CHECKS
    | INVITE_CHECKS
    | HOLD_CHECKS
)
"""By rule, a query for (place, finding) of every row that breaks it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant, and every row that breaks it by name."""

    rule: str
    rows: tuple[str, ...]


async def verify_ledger(session: AsyncSession) -> list[Violation]:
    """Every violation of the ledger's invariants; an empty list says that the books are right.

    The caller's transaction must be REPEATABLE READ: all checks have to see one moment.
    """
    violations: list[Violation] = []
    for rule, query in ALL_CHECKS.items():
        rows = await session.execute(text(query))
        found = tuple(sorted(f"{row.place}: {row.finding}" for row in rows))
        if found:
            violations.append(Violation(rule, found))
    return violations
