"""Finding members as operators do: by the beginning of what is known of them."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.errors import BadInput
from services.paging import LARGEST_PAGE, Page, decode_cursor, encode_cursor, page_of
from services.users.claims import storable
from services.users.profile import USER_COLUMNS, User, user_from_row

LONGEST_SEARCH = 255
"""Characters: the longest external id there is."""
_NEWEST_ORDER, _FOUND_ORDER = "users", "users found"
_AFTER_ALL = 2**63 - 1
_SOUGHT = ("username", "external_id", "email", "phone")
_COLUMNS = ", ".join(column.key for column in USER_COLUMNS)

_MEMBER = ", ".join(f"member.{column.key}" for column in USER_COLUMNS)

_NEWEST = text(
    f"""
    SELECT {_COLUMNS} FROM users WHERE id < :before AND erased_at IS NULL
    ORDER BY id DESC LIMIT :limit
    """
)
_FOLDED = "lower({column} COLLATE pg_c_utf8)"
_SEARCH = "lower(CAST(:search AS text) COLLATE pg_c_utf8)"
# A range instead of LIKE: the plan is made without the parameters (decision 0008), and only a
# constant pattern could use an index. No text that can be stored lies beyond U+10FFFF. The limit is
# written out for the same reason: of a limit that the planner does not know it believes that it is
# a tenth of the table, which it would rather sort.
_BEGINS = f"""
    (SELECT id, {_FOLDED} AS found FROM users
     WHERE erased_at IS NULL
       AND ({_FOLDED}, id) > (greatest({_SEARCH}, CAST(:after_text AS text)), :after_id)
       AND {_FOLDED} < {_SEARCH} || chr(1114111)
     ORDER BY {_FOLDED}, id LIMIT {LARGEST_PAGE + 1})
"""
_FIRST_OF = "least({})".format(
    ", ".join(
        f"CASE WHEN {folded} >= {_SEARCH} AND {folded} < {_SEARCH} || chr(1114111)"
        f" THEN {folded} END"
        for folded in (_FOLDED.format(column=column) for column in _SOUGHT)
    )
)
# A few of each column, by its own index from where the page before ended, and the first of them
# all: bounded, however many share the beginning. Who is found by several texts has been shown for
# the first of them. LIMIT 1 keeps the planner from reading all users for those few.
_FOUND = text(
    f"""
    WITH nearest AS MATERIALIZED (
        SELECT DISTINCT found, id FROM (
            {"UNION ALL".join(_BEGINS.format(column=column) for column in _SOUGHT)}
        ) hit ORDER BY found, id LIMIT :limit
    )
    SELECT {_MEMBER}, nearest.found, nearest.found = member.first AS is_first
    FROM nearest CROSS JOIN LATERAL (
        SELECT {_COLUMNS}, {_FIRST_OF} AS first FROM users WHERE users.id = nearest.id LIMIT 1
    ) member
    ORDER BY nearest.found, nearest.id
    """
)

_Found = tuple[User, str]
"""Who was found, and by which text."""


async def search_users(
    session: AsyncSession, search: str | None, *, size: int, after: str | None
) -> Page[User]:
    """Users whose name, external id, e-mail or phone begins so, in any case; nobody twice.

    In the order of the first text that begins so; everybody, newest first, without a search or for
    one of blanks. Nobody who was erased. Raises BadInput for a bad cursor, or a search that is too
    long or that nothing stored could match.
    """
    sought = (search or "").strip()
    if len(sought) > LONGEST_SEARCH or storable(sought) != sought:
        raise BadInput(f"search takes at most {LONGEST_SEARCH} characters that can be stored")
    if sought:
        return await _found(session, sought, size, after)
    (before,) = (_AFTER_ALL,) if after is None else decode_cursor(after, _NEWEST_ORDER, int)
    rows = await session.execute(_NEWEST, {"before": before, "limit": size + 1})
    users = [user_from_row(row) for row in rows.mappings()]
    return page_of(users, size, _newest_cursor, has_previous=after is not None)


def _newest_cursor(user: User) -> str:
    return encode_cursor(_NEWEST_ORDER, user.id)


async def _found(session: AsyncSession, search: str, size: int, after: str | None) -> Page[User]:
    """A page of those who are found.

    Read in rounds of a bounded number of rows until it is full. A round may bring nobody new, where
    all have been shown for another text: up to any page, all pages together read each of their
    members four times at most.
    """
    position = ("", 0) if after is None else decode_cursor(after, _FOUND_ORDER, str, int)
    found: list[_Found] = []
    while len(found) <= size:
        rows = await _round(session, search, size + 1, position)
        found += [(_user(row), row.found) for row in rows if row.is_first]
        if len(rows) <= size:
            break
        position = (rows[-1].found, rows[-1].id)
    cursors = {user.id: encode_cursor(_FOUND_ORDER, text_, user.id) for user, text_ in found}
    users = [user for user, _ in found[: size + 1]]
    return page_of(users, size, lambda user: cursors[user.id], has_previous=after is not None)


async def _round(
    session: AsyncSession, search: str, limit: int, position: tuple[Any, ...]
) -> list[Any]:
    after_text, after_id = position
    parameters = {"search": search, "limit": limit, "after_text": after_text, "after_id": after_id}
    return list(await session.execute(_FOUND, parameters))


def _user(row: Any) -> User:
    return user_from_row({column.key: getattr(row, column.key) for column in USER_COLUMNS})
