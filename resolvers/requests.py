"""From a request to its context: who is asking, in which language."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import structlog
from starlette.requests import HTTPConnection

from schema.context import Context, Viewer
from services.calendar import day_start, local_day
from services.errors import ServiceUnavailable, Unauthenticated
from services.limits.networks import network_of
from services.limits.rates import take_of
from services.live.hub import Hub
from services.mall import Mall
from services.messages import negotiate_locale
from services.monitoring.log_context import add_facts
from services.users.claims import Claims, TokenInvalid
from services.users.profile import DEFAULT_LOCALE, Identity, Login
from services.users.renames import is_renamed
from services.users.tokens import bearer_token

_log: structlog.stdlib.BoundLogger = structlog.get_logger()
_KNOWN_FOR = timedelta(minutes=5)
_MOST_KNOWN = 100_000


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class Requests:
    """Makes the contexts of requests; remembers for a while which user a subject is."""

    def __init__(self, mall: Mall, live: Hub) -> None:
        """Nobody is known yet."""
        self._mall = mall
        self._live = live
        self._known: dict[str, tuple[Identity, datetime]] = {}
        self._forgotten = 0
        self._notes: set[asyncio.Task[None]] = set()

    async def context(self, connection: HTTPConnection) -> Context:
        """The context of an HTTP request, or of a WebSocket that has not said who it is.

        Raises Unauthenticated for a token that is not valid: even a field that needs none is not
        served to a client that believes to be signed in and is not.
        """
        scope = connection.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        address = client and client[0]
        viewer = await self._viewer(_text(headers.get(b"authorization")), address)
        locale = (
            viewer.locale if viewer else negotiate_locale(_text(headers.get(b"accept-language")))
        )
        return self._context(viewer, locale, address)

    def anonymous(self) -> Context:
        """The context of what everybody sees alike: it knows nobody."""
        return self._context(None, DEFAULT_LOCALE, None)

    def _context(self, viewer: Viewer | None, locale: str, address: str | None) -> Context:
        return Context(self._mall, viewer, locale, address, self.forget, self._live)

    async def on_connect(self, context: Context, payload: dict[str, Any]) -> None:
        """Sign a WebSocket in by its `connection_init`.

        Raises Unauthenticated for a token that is not valid.
        """
        authorization = payload.get("Authorization")
        # What is no text is no token either: refused as one.
        token = None if authorization is None else str(authorization)
        viewer = await self._viewer(token, context.remote_address)
        if viewer is not None:
            context.viewer, context.locale = viewer, viewer.locale

    def forget(self, viewer: Viewer) -> None:
        """Read anew who the viewer is when they next ask; what is being read is not kept."""
        self._known.pop(viewer.subject, None)
        self._forgotten += 1

    async def _viewer(self, authorization: str | None, address: str | None) -> Viewer | None:
        try:
            token = bearer_token(authorization)
            if token is None:
                return None
            claims = await self._mall.tokens.verify(token)
        except TokenInvalid as error:
            _log.info("token_refused", reason=error.reason)
            raise Unauthenticated from error
        identity = await self._identity(claims, address)
        if is_renamed(claims, identity.username, identity.named_at):
            await self._rename(claims)
        add_facts(user=identity.user_id)
        return Viewer(
            user_id=identity.user_id,
            subject=claims.subject,
            roles=claims.roles,
            locale=identity.locale,
            token_expires_at_s=claims.expires_at,
        )

    async def _identity(self, claims: Claims, address: str | None) -> Identity:
        now = self._mall.clock()
        known = self._known.get(claims.subject)
        if known is not None and known[1] > now:
            return known[0]
        forgotten = self._forgotten
        identity = await self._mall.sign_ins.submit(claims)
        identity = identity or await self._sign_up(claims, address)
        if identity is None:
            raise LookupError("a user that was just created is gone")
        if identity.is_login_unnoted:
            self._note_login(Login(identity.user_id, claims.is_member))
        if forgotten == self._forgotten:  # else it may have been read before what it forgot
            self._remember(claims.subject, identity, now)
        return identity

    async def _sign_up(self, claims: Claims, address: str | None) -> Identity | None:
        """Create the user; raises LimitExceeded where too many new ones come from one address."""
        sign_up = take_of("sign_ups", network_of(address))
        await self._mall.limiter.take([sign_up], moves_value=True)
        return await self._mall.sign_ups.submit(claims)

    async def _rename(self, claims: Claims) -> None:
        """Follow a new name; the request is served under the old one where that cannot be done."""
        try:
            await self._mall.renames.submit(claims)
        except ServiceUnavailable as error:
            _log.warning("name_not_followed", error=repr(error))
            return
        self._known.pop(claims.subject, None)
        self._forgotten += 1
        await self._mall.movements.told()  # whoever looks at a board from now on sees it

    def _remember(self, subject: str, identity: Identity, now: datetime) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        zone = self._mall.zone
        tomorrow = day_start(local_day(now, zone) + timedelta(days=1), zone)  # has its own logins
        self._known[subject] = (identity, min(now + _KNOWN_FOR, tomorrow))

    def _note_login(self, login: Login) -> None:
        """Note a login beside the request, not before it."""
        task = asyncio.create_task(self._mall.logins.submit(login))
        self._notes.add(task)
        task.add_done_callback(self._forget_note)

    def _forget_note(self, task: asyncio.Task[None]) -> None:
        self._notes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("login_not_noted", exc_info=error)
