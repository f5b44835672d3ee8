"""Finding members as operators do: by the beginning of what is known of them."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.errors import BadInput
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.users.claims import storable
from services.users.profile import USER_COLUMNS, User, user_from_row

LONGEST_SEARCH = 255
"""Characters: the longest external id there is."""
_ORDER = "users"
_AFTER_ALL = 2**63 - 1
_SOUGHT = ("username", "external_id", "email", "phone")
_COLUMNS = ", ".join(column.key for column in USER_COLUMNS)

_NEWEST = text(
    f"""
    SELECT {_COLUMNS} FROM users WHERE id < :before AND erased_at IS NULL
    ORDER BY id DESC LIMIT :limit
    """
)
# A range instead of LIKE: the plan is made without the parameters (decision 0008), and only a
# constant pattern could use an index. No text that can be stored lies beyond U+10FFFF.
_BEGINS = """
    SELECT id FROM users
    WHERE erased_at IS NULL
      AND lower({column} COLLATE pg_c_utf8) >= lower(CAST(:search AS text) COLLATE pg_c_utf8)
      AND lower({column} COLLATE pg_c_utf8)
          < lower(CAST(:search AS text) COLLATE pg_c_utf8) || chr(1114111)
"""
# Each column by its own index, whatever the planner believes of the others: walking the newest
# users until a page is full would read all of them for a name that nobody has. A beginning that
# everybody shares costs all their ids (measured: 0.1 s for 100,000).
_FOUND = text(
    f"""
    WITH found AS MATERIALIZED (
        {"UNION ALL".join(_BEGINS.format(column=column) for column in _SOUGHT)}
    ), newest AS MATERIALIZED (
        SELECT DISTINCT id FROM found WHERE id < :before ORDER BY id DESC LIMIT :limit
    )
    SELECT {_COLUMNS} FROM users WHERE id = ANY(ARRAY(SELECT id FROM newest)) ORDER BY id DESC
    """
)


async def search_users(
    session: AsyncSession, search: str | None, *, size: int, after: str | None
) -> Page[User]:
    """Users whose name, external id, e-mail or phone begins so, in any case; newest first.

    Everybody without a search, or for one of blanks; nobody who was erased. Raises BadInput for a
    bad cursor, or a search that is too long or that nothing stored could match.
    """
    sought = (search or "").strip()
    if len(sought) > LONGEST_SEARCH or storable(sought) != sought:
        raise BadInput(f"search takes at most {LONGEST_SEARCH} characters that can be stored")
    (before,) = (_AFTER_ALL,) if after is None else decode_cursor(after, _ORDER, int)
    parameters = {"before": before, "limit": size + 1}
    if sought:
        found = await session.execute(_FOUND, {**parameters, "search": sought})
    else:
        found = await session.execute(_NEWEST, parameters)
    rows = [user_from_row(row) for row in found.mappings()]
    return page_of(rows, size, _cursor_of, has_previous=after is not None)


def _cursor_of(user: User) -> str:
    return encode_cursor(_ORDER, user.id)
