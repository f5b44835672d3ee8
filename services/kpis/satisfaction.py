"""How likely members are to recommend the mall: what they answer, and what it comes to.

Rules: `domain.md`, Operating it (satisfaction, NPS); `docs/kpis.md`, Satisfaction.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import LimitPeriod
from models.kpis import HIGHEST_SCORE, LONGEST_COMMENT, SatisfactionAnswer
from services.bulk import insert_rows
from services.calendar import day_start, local_day
from services.errors import InvalidInput, LimitReached, Unauthenticated
from services.identifiers import new_id
from services.input_rules import require_between, require_text

MOST_ANSWERS_A_DAY = 5
"""Of a member on a day of the mall. The newest of all counts: more would only fill disks."""
LOWEST_PROMOTER, HIGHEST_DETRACTOR = 9, 6
"""The usual bounds: who answers 9 or 10 promotes, up to 6 detracts, 7 and 8 do neither."""

_COLUMNS = ("id", "user_id", "score", "comment", "exchange_id", "created_at")
# As movements lock: answers of one member come one after another, and never after an erasure.
_HOLD_USER = text(
    "SELECT id FROM users WHERE id = :user_id AND erased_at IS NULL FOR NO KEY UPDATE"
)
_IS_OWN = text("SELECT id FROM exchanges WHERE id = :exchange_id AND user_id = :user_id")
_COUNT = text(
    "SELECT count(*) FROM satisfaction_answers WHERE user_id = :user_id AND created_at >= :since"
)
_SCORE = text(
    f"""
    SELECT count(*) AS answers,
           count(*) FILTER (WHERE score >= {LOWEST_PROMOTER}) AS promoters,
           count(*) FILTER (WHERE score <= {HIGHEST_DETRACTOR}) AS detractors
    FROM (SELECT DISTINCT ON (user_id) score FROM satisfaction_answers
          WHERE created_at >= :since AND created_at < :until
          ORDER BY user_id, created_at DESC, id DESC) newest
    """
)


class AnswerCapReached(LimitReached):
    """As many answers as a member may give on a day."""


class ExchangeNotOwn(InvalidInput):
    """What was asked about is no exchange of the member's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a member answers: `score` from 0 to 10, in which words, and about which exchange."""

    user_id: int
    score: int
    comment: str | None = None
    exchange_id: UUID | None = None


async def submit_answer(
    session: AsyncSession, answer: Answer, now: datetime, zone: ZoneInfo
) -> None:
    """Keep an answer beside those the member gave before.

    Raises InvalidInput for a score or comment that is no good, ExchangeNotOwn, AnswerCapReached,
    and Unauthenticated for a user who was erased: their token may outlive them.
    """
    require_between(("score",), answer.score, 0, HIGHEST_SCORE)
    if answer.comment is not None:
        require_text(("comment",), answer.comment, LONGEST_COMMENT, shortest=0)
    held = await session.execute(_HOLD_USER, {"user_id": answer.user_id})
    if held.one_or_none() is None:
        raise Unauthenticated
    await _require_own(session, answer)
    await _require_below_cap(session, answer.user_id, local_day(now, zone), zone)
    comment = (answer.comment or "").strip() or None
    row = (new_id(), answer.user_id, answer.score, comment, answer.exchange_id, now)
    await insert_rows(session, SatisfactionAnswer, _COLUMNS, [row])


async def _require_own(session: AsyncSession, answer: Answer) -> None:
    if answer.exchange_id is None:
        return
    whose = {"exchange_id": answer.exchange_id, "user_id": answer.user_id}
    if (await session.execute(_IS_OWN, whose)).one_or_none() is None:
        raise ExchangeNotOwn(("exchangeId",), "an exchange of the member's own")


async def _require_below_cap(
    session: AsyncSession, user_id: int, today: date, zone: ZoneInfo
) -> None:
    asked = {"user_id": user_id, "since": day_start(today, zone)}
    if (await session.execute(_COUNT, asked)).scalar_one() >= MOST_ANSWERS_A_DAY:
        tomorrow = day_start(today + timedelta(days=1), zone)
        raise AnswerCapReached(MOST_ANSWERS_A_DAY, LimitPeriod.DAY, tomorrow)


async def promoter_score(session: AsyncSession, since: datetime, until: datetime) -> float | None:
    """-100 to 100 over the newest answer of each member in that time; None when nobody answered."""
    row = (await session.execute(_SCORE, {"since": since, "until": until})).one()
    return 100 * (row.promoters - row.detractors) / row.answers if row.answers else None
