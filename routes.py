"""Plain HTTP beside GraphQL: probes for balancers, pages of links, tokens for developers."""

import asyncio
import hmac
from collections.abc import Awaitable
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from models.leaderboard import LeaderboardPeriod
from models.migrations import is_current
from models.sharing import ShareKind
from models.stores import Stores
from services.errors import ServiceUnavailable
from services.leaderboard.read import read_ranks
from services.limits.limiter import LimitExceeded
from services.limits.networks import network_of
from services.limits.rates import take_of
from services.mall import Mall
from services.messages import negotiate_locale
from services.monitoring.exposition import CONTENT_TYPE, exposition
from services.monitoring.health import HealthStatus
from services.sharing.links import front_end_link, link_to
from services.sharing.page import HEADERS, away_page, missing_page, share_page
from services.sharing.preview import Shared, find_shared, preview_of
from services.sharing.visits import Visit, is_person, visitor_of
from services.transaction import reading
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import Settings

_LONGEST_COUNT_S = 0.2
_log: structlog.stdlib.BoundLogger = structlog.get_logger()
_PROBE_TIMEOUT_S = 2.0
_LARGEST_TOKEN_REQUEST_BYTES = 4096


class TokenRequest(BaseModel):
    """What `/dev/token` takes."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=64)
    roles: list[Role] = [Role.MEMBER]

    @field_validator("username")
    @classmethod
    def _can_be_shown(cls, username: str) -> str:
        if not username.isprintable():
            raise ValueError("holds characters that cannot be shown")
        return username


def plain_routes(settings: Settings) -> list[Route]:
    """The routes for these settings: `/dev/token` does not exist outside the dev profile."""
    routes = [
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/health", health),
        Route("/s/{code}", shared_link, methods=["GET"]),  # and HEAD with it
    ]
    if settings.observation.metrics_token is not None or settings.mall.profile == "dev":
        routes.append(metrics_route())
    if settings.mall.profile == "dev":
        routes.append(Route("/", _to_graphiql))
        if settings.access.jwt_secret is not None:
            limit = _LARGEST_TOKEN_REQUEST_BYTES
            routes.append(Route("/dev/token", dev_token, methods=["POST"], max_body_size=limit))
    return routes


def metrics_route() -> Route:
    """Where Prometheus reads; with its token where one is set."""
    return Route("/metrics", metrics)


async def metrics(request: Request) -> Response:
    """Everything that was measured; 401 without the token: business figures are not for all."""
    mall: Mall = request.app.state.mall
    token = mall.settings.observation.metrics_token
    if token is not None and not _bears(request, token.get_secret_value()):
        return Response("The metrics need a bearer token", 401, {"www-authenticate": "Bearer"})
    return Response(await exposition(mall), media_type=CONTENT_TYPE)


def _bears(request: Request, token: str) -> bool:
    said = request.headers.get("authorization", "")
    return hmac.compare_digest(said.encode(), f"Bearer {token}".encode())


async def health(request: Request) -> Response:
    """How the mall does: 503 when that is critical. Why, only for who may read `/metrics`."""
    mall: Mall = request.app.state.mall
    found = await mall.health.latest()
    said: dict[str, Any] = {"status": found.status.name}
    if _may_read_figures(request, mall.settings):
        checked_at = found.checked_at.isoformat()
        said |= {"metrics": found.metrics, "alerts": found.alerts, "checkedAt": checked_at}
    status_code = 503 if found.status is HealthStatus.CRITICAL else 200
    return JSONResponse(said, status_code, {"cache-control": "no-store"})


def _may_read_figures(request: Request, settings: Settings) -> bool:
    token = settings.observation.metrics_token
    if token is None:
        return settings.mall.profile == "dev"
    return _bears(request, token.get_secret_value())


async def livez(_request: Request) -> Response:
    """The process answers; says nothing about what it depends on."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> Response:
    """200 when both stores answer and the schema is current; else 503 and which does not."""
    stores: Stores = request.app.state.mall.stores
    postgresql, redis, schema = await asyncio.gather(
        _probe(_ping_postgresql(stores)),
        _probe(_ping_redis(stores)),
        _probe(_has_schema(stores)),
    )
    checks = {"postgresql": postgresql, "redis": redis, "schema": schema}
    ready = all(answer == "ok" for answer in checks.values())
    status = "ready" if ready else "not ready"
    return JSONResponse({"status": status, "checks": checks}, status_code=200 if ready else 503)


async def _probe(check: Awaitable[bool]) -> str:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            return "ok" if await check else "outdated"
    except Exception as error:  # noqa: BLE001 - whatever keeps a store from answering, it is away
        _log.warning("store_away", cause=repr(error))
        return "away"


async def _ping_postgresql(stores: Stores) -> bool:
    async with stores.read() as session:
        await session.execute(text("SELECT 1"))
    return True


async def _has_schema(stores: Stores) -> bool:
    async with stores.read() as session:
        return await is_current(session)


async def _ping_redis(stores: Stores) -> bool:
    return bool(await stores.redis.ping())


async def shared_link(request: Request) -> Response:
    """The page of a link that a member shared: 404 for none, 503 while it cannot be looked up,
    429 for who asks too often.

    Counts the visit, if it is one of a person; a visit that cannot be counted shows the page too.
    """
    mall: Mall = request.app.state.mall
    locale = negotiate_locale(request.headers.get("accept-language"))
    headers = HEADERS | {"content-language": locale}
    if wait_s := await _wait_s("share_pages", request):
        return HTMLResponse(away_page(locale), 429, headers | {"retry-after": str(wait_s)})
    try:
        async with reading(mall.stores.read) as session:
            shared = await find_shared(session, request.path_params["code"], mall.clock())
    except ServiceUnavailable:
        return HTMLResponse(away_page(locale), 503, headers | {"retry-after": "5"})
    if shared is None:
        return HTMLResponse(missing_page(locale), 404, headers)
    if request.method == "GET" and is_person(request.headers):
        await _count_visit(mall, shared, request)
    rank = await _rank_of(mall, shared)
    return HTMLResponse(_page_of(shared, rank, mall.settings, locale), headers=headers)


async def _wait_s(limit: str, request: Request) -> int:
    """0, or how long whoever is at that address has to wait."""
    mall: Mall = request.app.state.mall
    holder = network_of(request.client and request.client.host)
    try:
        await mall.limiter.take([take_of(limit, holder)], moves_value=False)
    except LimitExceeded as exceeded:
        return exceeded.retry_after_s
    return 0


async def _rank_of(mall: Mall, shared: Shared) -> int | None:
    """Where the sharer stands of all time, if that is shared and can be told now."""
    if shared.share.kind is not ShareKind.RANK:
        return None
    user_id = shared.share.user_id
    try:
        ranks = await read_ranks(mall, LeaderboardPeriod.ALL_TIME, [user_id], mall.clock())
    except ServiceUnavailable:
        return None
    standing = ranks.standings.get(user_id)
    return None if standing is None else standing.rank


def _page_of(shared: Shared, rank: int | None, settings: Settings, locale: str) -> str:
    code, template = shared.share.code, settings.sharing.front_end_url
    url = link_to(settings.public_url, code)
    leads_to = template and front_end_link(template, code, shared.share.kind, shared.target_id)
    return share_page(preview_of(shared, locale, rank), url, leads_to, locale)


async def _count_visit(mall: Mall, shared: Shared, request: Request) -> None:
    address = request.client.host if request.client else None
    visitor = visitor_of(address, request.headers.get("user-agent", ""))
    counting = asyncio.create_task(mall.visits.submit(Visit(shared.share.id, visitor)))
    counting.add_done_callback(partial(_note_uncounted, shared.share.id))
    # The page does not wait for a link that somebody holds; the visit is counted afterwards.
    await asyncio.wait({counting}, timeout=_LONGEST_COUNT_S)


def _note_uncounted(share_id: UUID, counting: asyncio.Task[None]) -> None:
    error = None if counting.cancelled() else counting.exception()
    if error is not None:
        _log.warning("visit_not_counted", share=str(share_id), cause=repr(error))


async def dev_token(request: Request) -> Response:
    """A token for any name and roles, as an identity provider would sign it. Dev only."""
    if wait_s := await _wait_s("dev_tokens", request):
        return JSONResponse({"error": "too many"}, 429, {"retry-after": str(wait_s)})
    settings: Settings = request.app.state.mall.settings
    try:
        asked = TokenRequest.model_validate_json(await request.body())
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return JSONResponse({"error": problems}, status_code=400)
    secret = settings.access.jwt_secret
    assert secret is not None  # noqa: S101 - else the route does not exist
    token = issue_token(
        secret.get_secret_value(),
        asked.username,
        asked.roles,
        name=asked.username,
        issuer=settings.access.jwt_issuer,
        audience=settings.access.jwt_audience,
    )
    return JSONResponse({"token": token})


async def _to_graphiql(_request: Request) -> Response:
    return RedirectResponse("/graphql")
