"""Who uses one device with many: a sign of accounts that one person farms (decision 32)."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.points.velocity import DEVICE_DAYS, NO_RULES, RULES_KEY, VelocityRules

# What a statement inserts it does not see: the others and this one.
_NOTE = text(
    """
    WITH noted AS (
        INSERT INTO device_users (token_digest, user_id, last_seen_at)
        VALUES (:digest, :user_id, :now)
        ON CONFLICT (token_digest, user_id) DO UPDATE SET last_seen_at = excluded.last_seen_at
    )
    SELECT 1 + count(*) FROM device_users
    WHERE token_digest = :digest AND user_id <> :user_id AND last_seen_at > :since
    """
)
_HOLD = text("UPDATE users SET gains_held_until = :until WHERE id = :user_id")


async def note_device_user(session: AsyncSession, user_id: int, token: str, now: datetime) -> None:
    """Note that the member has that device; one too many has all they gain held for a while.

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
