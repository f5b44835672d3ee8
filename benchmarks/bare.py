"""The baseline of reading: a bare Starlette route that runs the same SQL and answers its rows.

No GraphQL, no tokens, no loaders: `?user=n` is believed.
"""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.stores import open_stores
from services.calendar import system_clock
from services.catalogue.browse import ItemFilter, ItemOrder, items_page
from services.catalogue.items import items_by_id
from services.points.balance import balances
from services.tasks.browse import member_tasks
from settings import StoreSettings

_ZONE = ZoneInfo("Asia/Shanghai")


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with open_stores(StoreSettings()) as stores:
        app.state.stores = stores
        yield


async def balance(request: Request) -> Response:
    """A user's balance."""
    user_id = int(request.query_params["user"])
    async with request.app.state.stores.read() as session:
        found = await balances(session, [user_id], system_clock())
    return Response(orjson.dumps(found[user_id]), media_type="application/json")


async def tasks(request: Request) -> Response:
    """A user's tasks."""
    user_id = int(request.query_params["user"])
    async with request.app.state.stores.read() as session:
        seen = await member_tasks(session, user_id, system_clock(), _ZONE)
    return Response(orjson.dumps(seen), media_type="application/json")


async def search(request: Request) -> Response:
    """The first items that a search finds, best first."""
    wanted = ItemFilter(search=request.query_params["text"])
    order, now = ItemOrder.RELEVANCE, system_clock()
    async with request.app.state.stores.read() as session:
        page = await items_page(session, wanted, order, size=20, after=None, now=now, zone=_ZONE)
    return Response(orjson.dumps(page.rows), media_type="application/json")


async def item(request: Request) -> Response:
    """An item by its id: one indexed select."""
    item_id = int(request.query_params["item"])
    async with request.app.state.stores.read() as session:
        found = await items_by_id(session, [item_id])
    return Response(orjson.dumps(found[item_id]), media_type="application/json")


async def livez(_request: Request) -> Response:
    """The process answers."""
    return Response("alive")


app = Starlette(
    routes=[
        Route("/balance", balance),
        Route("/tasks", tasks),
        Route("/search", search),
        Route("/item", item),
        Route("/livez", livez),
    ],
    lifespan=_lifespan,
)

if __name__ == "__main__":
    os.environ.setdefault("MALL_PROFILE", "dev")
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
