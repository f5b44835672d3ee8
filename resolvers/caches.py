"""Parsed and validated documents, kept by their text.

Out of the box parsing and validating are nine tenths of a small query's time.
"""

from collections import OrderedDict
from typing import Final

from graphql import GraphQLSchema

from resolvers.documents import PreparedDocument, prepare_document

MAX_ENTRIES: Final = 1_000
MAX_CACHED_CHARACTERS: Final = 16 * 1024
# A parsed document takes about 140 bytes per character of its text, so this is about 140 MiB, which
# only an attack fills: a thousand usual queries have half a million characters.
MAX_TOTAL_CHARACTERS: Final = 1024 * 1024


class DocumentCache:
    """Parses and validates documents for one schema; the last used answers are kept.

    ``hits`` and ``misses`` count the calls since the start of the process; a text too long to be
    kept is always a miss.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        max_entries: int = MAX_ENTRIES,
        max_cached_characters: int = MAX_CACHED_CHARACTERS,
        max_total_characters: int = MAX_TOTAL_CHARACTERS,
    ) -> None:
        self._schema = schema
        self._max_entries = max_entries
        self._max_cached_characters = max_cached_characters
        self._max_total_characters = max_total_characters
        self._entries: OrderedDict[str, PreparedDocument] = OrderedDict()
        self._characters = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """Return how many documents are kept."""
        return len(self._entries)

    def __contains__(self, source: str) -> bool:
        """Whether a valid document of this text is kept."""
        prepared = self._entries.get(source)
        return prepared is not None and not prepared.errors

    def prepare(self, source: str) -> PreparedDocument:
        """Return the document of this text, or its errors, marked with their codes."""
        prepared = self._entries.get(source)
        if prepared is not None:
            self.hits += 1
            self._entries.move_to_end(source)
            return prepared
        self.misses += 1
        prepared = prepare_document(self._schema, source)
        if len(source) <= self._max_cached_characters:
            self._keep(source, prepared)
        return prepared

    def _keep(self, source: str, prepared: PreparedDocument) -> None:
        self._entries[source] = prepared
        self._characters += len(source)
        while self._characters > self._max_total_characters or len(self) > self._max_entries:
            evicted, _ = self._entries.popitem(last=False)
            self._characters -= len(evicted)
