"""Who uses one device with many: a sign of accounts that one person farms (decision 32)."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.points.velocity import DEVICE_DAYS, NO_RULES, RULES_KEY, VelocityRules

# Who comes later is later, whatever the clocks of two processes say; who was away for so long that
# it no longer counts, comes anew. What a statement inserts it does not see: others and this one.
_NOTE = text(
    """
    WITH noted AS (
        INSERT INTO device_users AS known (token_digest, user_id, first_seen_at, last_seen_at)
        SELECT :digest, :user_id,
               greatest(CAST(:now AS timestamptz), max(first_seen_at) + interval '1 microsecond'),
               :now
        FROM device_users WHERE token_digest = :digest
        ON CONFLICT (token_digest, user_id) DO UPDATE
        SET last_seen_at = excluded.last_seen_at,
            first_seen_at = CASE WHEN known.last_seen_at > :since THEN known.first_seen_at
                                 ELSE excluded.first_seen_at END
        RETURNING first_seen_at
    )
    SELECT 1 + count(*) FROM device_users other, noted
    WHERE token_digest = :digest AND user_id <> :user_id AND last_seen_at > :since
      AND other.first_seen_at < noted.first_seen_at
    """
)
_HOLD = text("UPDATE users SET gains_held_until = :until WHERE id = :user_id")


async def note_device_user(session: AsyncSession, user_id: int, token: str, now: datetime) -> None:
    """Note that the member has that device; one too many has all they gain held for a while.

    Too many are those who had it first and still do: they gain as ever, whoever came after them.
    After the token was taken over in the same transaction: whoever registers it at once waits
    there, and then counts this member.
    """
    rules: VelocityRules = session.info.get(RULES_KEY, NO_RULES)
    if not rules.accounts_a_device:
        return
    kept = timedelta(days=DEVICE_DAYS)
    digest = hashlib.sha256(token.encode()).digest()
    values = {"digest": digest, "user_id": user_id, "now": now, "since": now - kept}
    accounts = (await session.execute(_NOTE, values)).scalar_one()
    if accounts > rules.accounts_a_device:
        await session.execute(_HOLD, {"user_id": user_id, "until": now + kept})
