"""The ASGI application: opens the mall, mounts GraphQL and the plain HTTP routes."""

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from strawberry import Schema

from resolvers.attempts import Observation, Observe, Permit
from resolvers.browsers import Browsers, SecurityHeaders
from resolvers.connections import Connections, holder_of
from resolvers.endpoint import GraphQLEndpoint
from resolvers.errors import describe_error
from resolvers.kpis import count_request
from resolvers.learning import Pay
from resolvers.live import SHARED_FIELDS
from resolvers.permits import Permits, body_limit_bytes
from resolvers.persisted import SafelistError, read_safelist
from resolvers.request_log import RequestLog
from resolvers.requests import Requests
from resolvers.root import build_schema
from resolvers.streams import Shared
from routes import livez, metrics_route, plain_routes
from schema.context import Context
from services.calendar import Clock, system_clock
from services.kpis.requests import open_request_counts
from services.limits.rates import rates_of
from services.live.hub import Hub, open_hub
from services.live.leases import open_leases
from services.mall import Mall, open_mall
from services.monitoring.logs import configure_logging
from services.monitoring.metrics import Metrics
from services.monitoring.rules import thresholds_of
from services.persisted import PersistedTexts
from settings import Settings, SettingsError, load_settings, require_access

_DETAILED: Final = ("debug", "info")
"""Log levels at which there is a line for each request."""


class MallApplication(Starlette):
    """GraphQL at one address, plain routes at others.

    GraphQL requests pass by Starlette's middleware and routing: the endpoint answers its own
    errors, and the way through them would be a tenth of a small query.
    """

    graphql: GraphQLEndpoint[Context]
    log: RequestLog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket, or the lifespan."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
        elif scope["path"] == "/graphql":
            await self.log.serve(self.graphql, scope, receive, send)
        else:
            await self.log.serve(super().__call__, scope, receive, send)


def require_usable(settings: Settings) -> None:
    """Raise SettingsError for settings with which no process would start."""
    rates_of(settings.limits)
    thresholds_of(settings.alerting)
    try:
        read_safelist(settings.graphql.safelist, settings.graphql.safelist_file)
    except SafelistError as error:
        raise SettingsError(str(error)) from error
    try:
        Browsers(settings.server.origins, is_guarded=settings.graphql.csrf_guard)
    except ValueError as error:
        raise SettingsError(f"MALL_ALLOWED_ORIGINS: {error}") from error


def create_app(settings: Settings, clock: Clock = system_clock) -> MallApplication:
    """The application for these settings; raises SettingsError when no token could be checked."""
    require_access(settings)
    schema = build_schema()

    @asynccontextmanager
    async def lifespan(app: MallApplication) -> AsyncGenerator[None]:
        async with (
            open_mall(settings, clock) as mall,
            open_hub(mall) as live,
            open_leases(mall.stores.redis) as leases,
            open_request_counts(mall) as counts,
        ):
            app.state.mall, app.state.live = mall, live
            is_logged = settings.observation.access_log and settings.server.log_level in _DETAILED
            app.log = RequestLog(mall.metrics, mall.tracer, is_on=is_logged)
            connections = Connections(leases, settings.server, mall.limiter)
            permits = Permits(mall.limiter)
            permit = app.log.naming(permits.permit)
            hooks = _Hooks(
                permit, permits.pay, _both(app.log.observe, partial(count_request, counts))
            )
            app.graphql = _endpoint(mall, live, connections, schema, hooks)
            _watch_connections(mall.metrics, connections, live)
            yield

    headers = [Middleware(SecurityHeaders)]
    return MallApplication(routes=plain_routes(settings), middleware=headers, lifespan=lifespan)


class _Hooks(NamedTuple):
    """Who is asked before an operation begins, and told of it when it ended."""

    permit: Permit
    pay: Pay
    observe: Observe


def _both(one: Observe, other: Observe) -> Observe:
    def observe(seen: Observation) -> None:
        one(seen)
        other(seen)

    return observe


def _endpoint(
    mall: Mall, live: Hub, connections: Connections, schema: Schema, hooks: _Hooks
) -> GraphQLEndpoint[Context]:
    server, graphql = mall.settings.server, mall.settings.graphql
    requests = Requests(mall, live)
    is_dev = mall.settings.mall.profile == "dev"
    return GraphQLEndpoint[Context](
        schema,
        texts=PersistedTexts(mall.stores.redis),
        safelist=read_safelist(graphql.safelist, graphql.safelist_file),
        make_context=requests.context,
        describe_error=describe_error,
        on_connect=requests.on_connect,
        shared=Shared(SHARED_FIELDS, requests.anonymous, holder_of),
        admit=connections.admit,
        permit=hooks.permit,
        pay=hooks.pay,
        body_limit_bytes=body_limit_bytes,
        observe=hooks.observe,
        max_cost=graphql.max_cost,
        timeout_s=graphql.request_timeout_s,
        introspection=is_dev if graphql.introspection is None else graphql.introspection,
        max_body_bytes=server.max_body_bytes,
        max_frame_bytes=server.socket_frame_max_bytes,
        allowed_origins=server.origins,
        csrf_guard=graphql.csrf_guard,
        graphiql=is_dev if server.graphiql is None else server.graphiql,
    )


def _watch_connections(metrics: Metrics, connections: Connections, live: Hub) -> None:
    def sample() -> None:
        metrics.connections.set(len(connections))
        metrics.watched.set(live.watched)

    metrics.samples.append(sample)


def create_metrics_app(mall: Mall) -> Starlette:
    """What a process without GraphQL serves beside its work: its metrics, and that it lives."""
    app = Starlette(routes=[Route("/livez", livez), metrics_route()])
    app.state.mall = mall
    return app


def app_from_environment() -> MallApplication:
    """The application as `MALL_` variables describe it: what a web process runs."""
    settings = load_settings()
    configure_logging(settings)
    app = create_app(settings)
    _collect_garbage_rarely()
    return app


def _collect_garbage_rarely() -> None:
    """Keep what lives as long as the process out of garbage collection, and collect less often.

    With Python's defaults collecting took a fifth of a request's time; next to nothing of a
    request is cyclic.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
