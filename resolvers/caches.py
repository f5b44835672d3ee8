"""Parsed and validated documents, kept by their text.

Out of the box parsing and validating are nine tenths of a small query's time.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from graphql import GraphQLSchema

from resolvers.documents import PreparedDocument, prepare_document

MAX_ENTRIES: Final = 1_000
MAX_CACHED_CHARACTERS: Final = 16 * 1024
# A parsed document takes about 140 bytes per character of its text, so this is about 140 MiB, which
# only an attack fills: a thousand usual queries have half a million characters.
MAX_TOTAL_CHARACTERS: Final = 1024 * 1024

_SHARE_OF_PROVEN: Final = 0.8
_SHARE_OF_REFUSED: Final = 0.1


class _Segment:
    """Documents in the order in which they were used last, so many and no more."""

    def __init__(self, max_entries: int, max_characters: int) -> None:
        self._max_entries = max_entries
        self._max_characters = max_characters
        self._entries: OrderedDict[str, PreparedDocument] = OrderedDict()
        self._characters = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, source: str) -> PreparedDocument | None:
        """The document of this text, used just now."""
        prepared = self._entries.get(source)
        if prepared is not None:
            self._entries.move_to_end(source)
        return prepared

    def pop(self, source: str) -> PreparedDocument | None:
        """The same, and no longer kept here."""
        prepared = self._entries.pop(source, None)
        if prepared is not None:
            self._characters -= len(source)
        return prepared

    def put(
        self, source: str, prepared: PreparedDocument
    ) -> Iterable[tuple[str, PreparedDocument]]:
        """Keep a document that is not kept yet; those that had to make room for it."""
        self._entries[source] = prepared
        self._characters += len(source)
        evicted: list[tuple[str, PreparedDocument]] = []
        while self._characters > self._max_characters or len(self) > self._max_entries:
            evicted.append(self._entries.popitem(last=False))
            self._characters -= len(evicted[-1][0])
        return evicted


class DocumentCache:
    """Parses and validates documents for one schema; the answers used last are kept.

    A valid document is proven when it is asked for again while it is still kept. New ones and
    refused ones have a small part of the room to themselves: whoever sends ever other documents
    pushes out only their like, not what everybody asks for.

    ``hits`` and ``misses`` count the calls since the start of the process; a text too long to be
    kept is always a miss.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        introspection: bool = True,
        max_entries: int = MAX_ENTRIES,
        max_cached_characters: int = MAX_CACHED_CHARACTERS,
        max_total_characters: int = MAX_TOTAL_CHARACTERS,
    ) -> None:
        """Room for so many in all, and none of more than so many characters.

        Without `introspection` nothing tells of the schema: no document, and no suggestion.
        """

        def segment(share: float) -> _Segment:
            return _Segment(round(share * max_entries), round(share * max_total_characters))

        self._schema = schema
        self._introspection = introspection
        self._max_cached_characters = max_cached_characters
        self._proven = segment(_SHARE_OF_PROVEN)
        self._new = segment(1 - _SHARE_OF_PROVEN - _SHARE_OF_REFUSED)
        self._refused = segment(_SHARE_OF_REFUSED)
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """Return how many documents are kept."""
        return len(self._proven) + len(self._new) + len(self._refused)

    def find(self, source: str) -> PreparedDocument | None:
        """The document of this text, or its errors, if it is kept; it counts as a use."""
        prepared = self._proven.get(source)
        if prepared is None:
            prepared = self._prove(source) or self._refused.get(source)
        if prepared is None:
            self.misses += 1
        else:
            self.hits += 1
        return prepared

    def _prove(self, source: str) -> PreparedDocument | None:
        prepared = self._new.pop(source)
        if prepared is not None:
            for demoted in self._proven.put(source, prepared):
                self._new.put(*demoted)
        return prepared

    def prepare(self, source: str) -> PreparedDocument:
        """Return the document of this text, or its errors, marked with their codes."""
        return self.find(source) or self.add(source)

    def add(self, source: str) -> PreparedDocument:
        """Prepare a document that was not found, and keep it if it is short enough.

        One that was added since it was not found is not prepared again.
        """
        for segment in (self._proven, self._new, self._refused):
            if (kept := segment.get(source)) is not None:
                return kept
        prepared = prepare_document(self._schema, source, self._introspection)
        if len(source) <= self._max_cached_characters:
            (self._refused if prepared.errors else self._new).put(source, prepared)
        return prepared
