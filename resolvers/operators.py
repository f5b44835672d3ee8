"""Root fields for operators alone: finding members, and what operators did."""

import strawberry

from resolvers.access import Audience, field_for
from schema.context import Info
from schema.ids import decode_id, int_key
from schema.operators import OperatorActionConnection
from schema.users import UserConnection
from services.operators import actions_page
from services.paging import require_page_size
from services.users.search import search_users


@strawberry.type
class OperatorsQuery:
    """What a console lists."""

    @field_for(Audience.OPERATOR)
    async def users(
        self,
        info: Info,
        search: str | None = None,
        first: int | None = 20,
        after: str | None = None,
    ) -> UserConnection:
        """Users whose name, external id, e-mail or phone begins so, by the text that does.

        Everybody, newest first, without a search.
        """
        size = require_page_size(first)
        async with info.context.read() as session:
            page = await search_users(session, search, size=size, after=after)
        return UserConnection.of(page)

    @field_for(Audience.OPERATOR)
    async def operator_actions(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        operator_id: strawberry.ID | None = None,
        target_id: strawberry.ID | None = None,
    ) -> OperatorActionConnection:
        """What operators and commands did, newest first."""
        size = require_page_size(50 if first is None else first)
        by_whom = None if operator_id is None else int_key(operator_id, "User")
        target = None if target_id is None else decode_id(target_id)
        async with info.context.read() as session:
            page = await actions_page(
                session, size=size, after=after, operator_id=by_whom, target=target
            )
        return OperatorActionConnection.of(page)
