"""Counting who follows a link: each visitor once a day of the mall, people only.

A visit that is not counted is no loss, a page that does not come is: whoever counts does not wait
for the disk.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import Clock, local_day

VISITORS_AN_ADDRESS = 64
"""At most so many visitors a day are told apart behind one address: an office, and no flood."""

# Those that fetch a page to show a preview of it, or to index it, say who they are; "cubot" is a
# make of phones. Programs say what they were written with.
_MACHINE = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|preview|facebookexternalhit|facebookcatalog|whatsapp/"
    r"|embedly|mastodon|vkshare|headless|curl/|wget/|python|okhttp|^java/|go-http|axios|node-fetch",
    re.IGNORECASE,
)
_ONLY_LATER = re.compile(r"prefetch|preview|prerender", re.IGNORECASE)
_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")

# Locks links in the order of their ids: others that count, or reward, meet them in the same order.
_COUNT = text(
    """
    WITH counted AS (
        INSERT INTO share_visits (day, share_id, visitor)
        SELECT DISTINCT CAST(:day AS date), share_id,
               sha256(salt || convert_to(concat_ws(' ', CAST(:day AS date), visitor), 'UTF8'))
        FROM unnest(CAST(:share_ids AS uuid[]), CAST(:visitors AS text[]))
            AS came(share_id, visitor), erasure_salt
        ORDER BY 2, 3
        ON CONFLICT DO NOTHING
        RETURNING share_id
    ), fresh AS (
        SELECT share_id, count(*) AS visitors FROM counted GROUP BY share_id
    ), held AS (
        SELECT id FROM shares WHERE id IN (SELECT share_id FROM fresh)
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE shares SET visits = visits + fresh.visitors
    FROM held JOIN fresh ON fresh.share_id = held.id
    WHERE shares.id = held.id
    """
)


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody followed a link. `visitor` tells one from another, and is stored as a hash only."""

    share_id: UUID
    visitor: str


async def count_visits(
    session: AsyncSession, visits: Sequence[Visit], *, clock: Clock, zone: ZoneInfo
) -> list[None]:
    """Count a batch of visits in one statement, each visitor of a link once a day of the mall."""
    await session.execute(text("SET LOCAL synchronous_commit = off"))
    parameters = {
        "day": local_day(clock(), zone),
        "share_ids": [visit.share_id for visit in visits],
        "visitors": [visit.visitor for visit in visits],
    }
    await session.execute(_COUNT, parameters)
    return [None] * len(visits)


def is_person(headers: Mapping[str, str]) -> bool:
    """Whether a request looks as if somebody now reads the page, by the names of its headers."""
    agent = headers.get("user-agent", "")
    is_ahead = any(_ONLY_LATER.search(headers.get(name, "")) for name in _PURPOSES)
    return bool(agent.strip()) and not is_ahead and not _MACHINE.search(agent)


def visitor_of(address: str | None, agent: str) -> str:
    """What tells visitors apart: the network they come from, and in it 64 kinds of browsers.

    One who changes the browser's name with every request is no more than 64 visitors; of IPv6 a
    household has 2^64 addresses, which are one network.
    """
    digest = hashlib.sha256(agent.encode("utf-8", "replace")).digest()
    return f"{_network(address)} {digest[0] % VISITORS_AN_ADDRESS}"


def _network(address: str | None) -> str:
    try:
        parsed = ip_address(address or "")
    except ValueError:  # a proxy, or a test, may say anything
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
