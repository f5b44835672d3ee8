"""Which text a request means: its own, one that it names by its hash, or none but known ones.

Apollo's protocol: https://www.apollographql.com/docs/apollo-server/performance/apq. A hash is
trusted for nothing: a text counts only if it has that hash, and only valid ones are kept.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Final, Literal, Protocol

import orjson
import structlog

from resolvers.operation_requests import OperationRequest
from resolvers.transport_errors import BAD_USER_INPUT, OperationRefused
from services.persisted import hash_of

PERSISTED_QUERY_NOT_FOUND: Final = "PERSISTED_QUERY_NOT_FOUND"
_MAX_KEPT: Final = 1_000
_MAX_KEPT_CHARACTERS: Final = 16 * 1024
_LONGEST_ID: Final = 256
_WRITTEN_AGAIN_AFTER_S: Final = 60.0
_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,63}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Texts(Protocol):
    """Texts by their hash that all processes share."""

    async def find(self, digest: str) -> str | None:
        """The text with this hash, if it is kept."""
        ...

    async def keep(self, digest: str, text: str) -> None:
        """Keep a text."""
        ...


class SafelistError(Exception):
    """The manifest cannot be read, or is none."""


@dataclass(frozen=True, slots=True)
class Safelist:
    """The documents that clients are known to send."""

    mode: Literal["off", "log", "enforce"] = "off"
    bodies: Mapping[str, str] = field(default_factory=dict)
    """By their ids, which are hashes unless the manifest was made otherwise."""
    known: frozenset[str] = frozenset()


def read_safelist(mode: Literal["off", "log", "enforce"], path: Path | None) -> Safelist:
    """Read a manifest in Apollo's form; raises SafelistError for anything else."""
    if mode == "off":
        return Safelist()
    if path is None:
        raise SafelistError("MALL_SAFELIST needs MALL_SAFELIST_FILE")
    try:
        manifest = orjson.loads(path.read_bytes())
        if manifest["format"] != "apollo-persisted-query-manifest":
            raise SafelistError(f"{path} is no Apollo persisted query manifest")
        bodies = {str(each["id"]): str(each["body"]) for each in manifest["operations"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SafelistError(f"{path} cannot be read as a manifest: {error!r}") from error
    return Safelist(mode, bodies, frozenset(bodies.values()))


class PersistedQueries:
    """Finds the texts of requests; remembers those that this process has seen last."""

    def __init__(
        self,
        texts: Texts | None = None,
        safelist: Safelist | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `texts` this process remembers only for itself. `clock` counts seconds."""
        self._texts = texts
        self._clock = clock
        self._safelist = safelist or Safelist()
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._written_at_s: dict[str, float] = {}

    async def resolve(self, request: OperationRequest) -> OperationRequest:
        """The request with its text; its hash is left only where that came with the text.

        Raises OperationRefused for a hash without a text, one that is not its text's, and whatever
        the safelist does not know where it is enforced.
        """
        digest = _digest(request)
        if digest is None and self._safelist.mode == "off":
            return request
        text = request.query if digest is None else await self._text(request.query, digest)
        if self._safelist.mode != "off" and text not in self._safelist.known:
            name = _loggable(request.operation_name)
            _log.warning("operation_not_in_safelist", operation=name, hash=hash_of(text))
            if self._safelist.mode == "enforce":
                raise OperationRefused("FORBIDDEN", "Only operations that are known are served")
        return request._replace(
            query=text, extensions=request.extensions if request.query else None
        )

    async def _text(self, sent: str, digest: str) -> str:
        if not sent:
            return await self._find(digest)
        if self._kept.get(digest) == sent or self._safelist.bodies.get(digest) == sent:
            return sent
        if hash_of(sent) != digest:
            raise OperationRefused(BAD_USER_INPUT, "The hash is not that of the query")
        return sent

    async def keep(self, request: OperationRequest) -> None:
        """Keep the text of a request that was resolved, and is valid, if it came with its hash.

        Who sends both was told that the text is not known, if not here: it is kept for all anew,
        whether or not this process knows it, but not for every request of who always does.
        """
        digest, text = _digest(request), request.query
        if digest is None or len(text) > _MAX_KEPT_CHARACTERS:
            return
        if text == self._safelist.bodies.get(digest):
            return
        self._remember(digest, text)
        now_s, written_at_s = self._clock(), self._written_at_s.get(digest, -inf)
        if self._texts is not None and now_s >= written_at_s + _WRITTEN_AGAIN_AFTER_S:
            self._written_at_s[digest] = now_s
            await self._texts.keep(digest, text)

    async def _find(self, digest: str) -> str:
        text = self._safelist.bodies.get(digest) or self._kept.get(digest)
        if text is None and self._texts is not None and _HASH.fullmatch(digest):
            text = await self._texts.find(digest)
        if text is None:
            raise OperationRefused(PERSISTED_QUERY_NOT_FOUND, "PersistedQueryNotFound")
        self._remember(digest, text)
        return text

    def _remember(self, digest: str, text: str) -> None:
        if len(text) > _MAX_KEPT_CHARACTERS:
            return
        self._kept[digest] = text
        self._kept.move_to_end(digest)
        if len(self._kept) > _MAX_KEPT:
            forgotten, _ = self._kept.popitem(last=False)
            self._written_at_s.pop(forgotten, None)


def _loggable(name: str | None) -> str | None:
    """The name where it can be one: the client may send anything as such, of any length."""
    return name if name is not None and _NAME.fullmatch(name) else None


def _digest(request: OperationRequest) -> str | None:
    extension: object = (request.extensions or {}).get("persistedQuery")
    if extension is None:
        return None
    if not isinstance(extension, dict) or extension.get("version") != 1:
        raise OperationRefused(BAD_USER_INPUT, "Persisted queries are of version 1")
    digest: object = extension.get("sha256Hash")
    if not isinstance(digest, str) or not 0 < len(digest) <= _LONGEST_ID:
        raise OperationRefused(BAD_USER_INPUT, "A persisted query has its sha256Hash")
    return digest
