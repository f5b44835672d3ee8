"""The ASGI application: opens the mall, mounts GraphQL and the plain HTTP routes."""

import gc
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send
from strawberry import Schema
from structlog.dev import plain_traceback
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

from resolvers.browsers import SecurityHeaders
from resolvers.connections import Connections, holder_of
from resolvers.endpoint import GraphQLEndpoint
from resolvers.errors import describe_error
from resolvers.live import SHARED_FIELDS
from resolvers.permits import Permits
from resolvers.persisted import read_safelist
from resolvers.requests import Requests
from resolvers.root import build_schema
from resolvers.streams import Shared
from routes import plain_routes
from schema.context import Context
from services.calendar import Clock, system_clock
from services.live.hub import Hub, open_hub
from services.live.leases import open_leases
from services.mall import Mall, open_mall
from services.persisted import PersistedTexts
from settings import Settings, load_settings, require_access


class MallApplication(Starlette):
    """GraphQL at one address, plain routes at others.

    GraphQL requests pass by Starlette's middleware and routing: the endpoint answers its own
    errors, and the way through them would be a tenth of a small query.
    """

    graphql: GraphQLEndpoint[Context]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket, or the lifespan."""
        if scope["type"] != "lifespan" and scope["path"] == "/graphql":
            await self.graphql(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


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
        ):
            app.state.mall, app.state.live = mall, live
            connections = Connections(leases, settings.server, mall.limiter)
            app.graphql = _endpoint(mall, live, connections, schema)
            yield

    headers = [Middleware(SecurityHeaders)]
    return MallApplication(routes=plain_routes(settings), middleware=headers, lifespan=lifespan)


def _endpoint(
    mall: Mall, live: Hub, connections: Connections, schema: Schema
) -> GraphQLEndpoint[Context]:
    server, graphql = mall.settings.server, mall.settings.graphql
    requests = Requests(mall, live)
    is_dev = mall.settings.mall.profile == "dev"
    return GraphQLEndpoint[Context](
        schema,
        texts=PersistedTexts(mall.stores.redis),
        safelist=read_safelist(graphql.safelist, graphql.safelist_file),
        make_context=requests.context,
        permit=Permits(mall.limiter).permit,
        describe_error=describe_error,
        on_connect=requests.on_connect,
        shared=Shared(SHARED_FIELDS, requests.anonymous, holder_of),
        admit=connections.admit,
        max_cost=graphql.max_cost,
        timeout_s=graphql.request_timeout_s,
        introspection=is_dev if graphql.introspection is None else graphql.introspection,
        max_body_bytes=server.max_body_bytes,
        max_frame_bytes=server.socket_frame_max_bytes,
        allowed_origins=server.origins,
        csrf_guard=graphql.csrf_guard,
        graphiql=is_dev if server.graphiql is None else server.graphiql,
    )


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


class _ToStructlog(logging.Handler):
    """What libraries log, in the same form as what the mall logs."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info, logger=record.name)


def configure_logging(settings: Settings) -> None:
    """Structured logs to standard error: JSON in production, readable lines in dev.

    Of libraries warnings and errors only, whatever the mall's level: at INFO httpx2 logs the
    addresses it asks, and those of APNs hold the tokens of devices.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()])
    is_dev = settings.mall.profile == "dev"
    level = logging.getLevelNamesMapping()[settings.server.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(
                [
                    structlog.dev.ConsoleRenderer(
                        colors=sys.stderr.isatty(), exception_formatter=plain_traceback
                    )
                ]
                if is_dev
                else [
                    # Locals would put tokens and addresses into the log.
                    ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
                    structlog.processors.JSONRenderer(),
                ]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
