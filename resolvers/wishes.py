"""Root fields of the wish list."""

import strawberry

from resolvers.access import Audience, mutation_for
from schema.catalogue import ExchangeItem
from schema.context import Info
from schema.ids import int_key
from schema.wishes import SetWishedInput, SetWishedResult, SetWishedSuccess
from services.catalogue.wishes import set_wished
from services.transaction import transaction


@strawberry.type
class WishesMutation:
    """Wishing."""

    @mutation_for(Audience.MEMBER)
    async def set_wished(self, info: Info, input: SetWishedInput) -> SetWishedResult:
        """Put an item on the viewer's wish list, or take it off."""
        context = info.context
        user_id = context.require_viewer().user_id
        item_id = int_key(input.item_id, "ExchangeItem")
        async with transaction(context.mall.stores.write) as session:
            item = await set_wished(session, user_id, item_id, context.now(), wished=input.wished)
        return SetWishedSuccess(item=ExchangeItem.of(item))
