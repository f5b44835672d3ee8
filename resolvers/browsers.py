"""What browsers are told, and what pages of other origins may make them do.

Members sign in by a header, never by a cookie, so no page can act as a member without their token.
The guard keeps pages from having visitors send anything at all without the browser asking first.
Rules: https://www.apollographql.com/docs/apollo-server/security/cors and the Fetch standard.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.http.websocket_origin import normalize_allowed_origins

from resolvers.transport_errors import RefuseRequest

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

SECURITY_HEADERS: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""With every answer that does not say otherwise. Even the same query is not everybody's own: what
it answers depends on the token, and on the moment."""

PAGE_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; img-src data: https:; font-src data: https://unpkg.com;"
    " style-src 'unsafe-inline' https://unpkg.com; script-src 'unsafe-inline' https://unpkg.com;"
    " worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For GraphiQL, whose scripts are Strawberry's choice, with their hashes, from unpkg."""

_SENT_WITHOUT_ASKING: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)
_PROOFS: Final = (b"apollo-require-preflight", b"x-apollo-operation-name")

_PREFLIGHT: Final[Headers] = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-max-age", b"7200"),  # Chrome's longest
)
_NAMES: Final = re.compile(
    rb"[a-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[a-z0-9!#$%&'*+.^_`|~-]+)*", re.IGNORECASE
)
_LONGEST_NAMES: Final = 2_048
_VARY: Final = (b"vary", b"origin")
_EXPOSED: Final = (b"access-control-expose-headers", b"retry-after, x-request-id")
_NO_CONTENT, _FORBIDDEN = 204, 403


class Browsers:
    """Answers and guards one address."""

    def __init__(self, origins: Sequence[str], *, is_guarded: bool) -> None:
        """`origins` are those whose pages may read what is answered; `*` is any.

        Raises ValueError for what is no origin.
        """
        self._origins = frozenset(map(str.encode, normalize_allowed_origins(origins)))
        self._is_guarded = is_guarded

    def headers(self, asked: Mapping[bytes, bytes]) -> Headers:
        """What goes with the answer to a request with these headers."""
        if not self._origins:
            return SECURITY_HEADERS
        origin = asked.get(b"origin", b"")
        if b"*" in self._origins:
            return (*SECURITY_HEADERS, (b"access-control-allow-origin", b"*"), _EXPOSED)
        if origin not in self._origins:
            return (*SECURITY_HEADERS, _VARY)
        allowed = (b"access-control-allow-origin", origin)
        return (*SECURITY_HEADERS, _VARY, allowed, _EXPOSED)

    def check(self, method: str, asked: Mapping[bytes, bytes]) -> None:
        """Raise RefuseRequest for what a page of any origin could make a browser send.

        Of a POST the endpoint takes no body but JSON, for which browsers ask first.
        """
        if not self._is_guarded or method == "POST":
            return
        media_type = asked.get(b"content-type", b"").decode("latin-1")
        media_type = media_type.partition(";")[0].strip().lower()
        is_asked_first = media_type and media_type not in _SENT_WITHOUT_ASKING
        if not (is_asked_first or any(asked.get(proof) for proof in _PROOFS)):
            raise RefuseRequest(
                400,
                "Send a content-type such as application/json, or the header "
                "apollo-require-preflight, so that no page can send this without asking",
            )

    async def answer_preflight(self, asked: Mapping[bytes, bytes], send: Send) -> None:
        """Say what a page may send; one of another origin than those allowed may send nothing.

        An allowed one may send what headers it likes: clients add some of their own, and there are
        no cookies that would make one of them matter.
        """
        may = bool(self._origins & {b"*", asked.get(b"origin", b"")})
        status = _NO_CONTENT if may else _FORBIDDEN
        headers: list[tuple[bytes, bytes]] = [*_PREFLIGHT] if may else []
        names = asked.get(b"access-control-request-headers", b"")
        if may and len(names) <= _LONGEST_NAMES and _NAMES.fullmatch(names):
            headers.append((b"access-control-allow-headers", names))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def is_preflight(method: str, asked: Mapping[bytes, bytes]) -> bool:
    """Whether a browser asks what it may send, before it sends it."""
    return method == "OPTIONS" and b"access-control-request-method" in asked


def adding(headers: Headers, send: Send) -> Send:
    """Send with these headers, but for those that an answer has of its own."""

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            own: Any = message["headers"]
            names = {name.lower() for name, _ in own}
            own = [*own, *(header for header in headers if header[0] not in names)]
            message = {**message, "headers": own}
        await send(message)

    return send_more


class SecurityHeaders:
    """Middleware for the plain routes."""

    def __init__(self, app: ASGIApp) -> None:
        """Around this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve with the headers."""
        more = adding(SECURITY_HEADERS, send) if scope["type"] == "http" else send
        await self._app(scope, receive, more)
