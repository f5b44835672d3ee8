"""Parsed and validated documents, kept by their text.

Out of the box parsing and validating are nine tenths of a small query's time. The rules are one
tuple made at import, so nothing is built per request and the cache really hits.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from resolvers.limits import MAX_COMMENTS, MAX_SOURCE_CHARACTERS, MAX_TOKENS, check_limits
from resolvers.transport_errors import PARSE_FAILED, VALIDATION_FAILED, mark

MAX_ENTRIES: Final = 1_000
MAX_CACHED_CHARACTERS: Final = 16 * 1024
# A parsed document takes about 140 bytes per character of its text, so this is about 140 MiB, which
# only an attack fills: a thousand usual queries have half a million characters.
MAX_TOTAL_CHARACTERS: Final = 1024 * 1024

# Each error rescans the text for its line and may search the schema for a likely name.
_MAX_VALIDATION_ERRORS: Final = 20

# Strawberry's rule for @oneOf inputs is left out: it fails with a KeyError on valid documents whose
# fragments use variables. The value itself is checked when it is coerced.
_RULES: Final[tuple[type[ASTValidationRule], ...]] = (*specified_rules, MaybeNullValidationRule)

# This rule compares every two fields of the same name. With the library's budget of 500,000 a text
# of 6,000 characters held the process for 0.9 s; with this one for 50 ms. Twenty fragments that
# select the same five fields need about 4,000. The attribute is the library's way to set it.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 30_000


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document ready to run, or the errors that forbid it."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...] = ()
    operations: Mapping[str | None, OperationDefinitionNode] = field(default_factory=dict)
    """By name; under None the only operation, if there is only one."""


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


def prepare_document(schema: GraphQLSchema, source: str) -> PreparedDocument:
    """Parse and validate, the cheap checks first: the next step only sees what passed the last."""
    try:
        document = parse(
            source,
            max_lexical_tokens=MAX_TOKENS,
            max_comments=MAX_COMMENTS,
            max_source_length=MAX_SOURCE_CHARACTERS,
        )
    except GraphQLError as error:
        return PreparedDocument(_NO_DOCUMENT, (mark(error, PARSE_FAILED),))
    errors = _validate(schema, document)
    if errors:
        marked = tuple(mark(error, VALIDATION_FAILED) for error in errors)
        return PreparedDocument(_NO_DOCUMENT, marked)
    return PreparedDocument(document, operations=_operations(document))


_NO_DOCUMENT: Final = DocumentNode(definitions=())


def _validate(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    try:
        check_limits(document)
    except GraphQLError as error:
        return [error]
    return validate(schema, document, _RULES, max_errors=_MAX_VALIDATION_ERRORS)


def _operations(document: DocumentNode) -> dict[str | None, OperationDefinitionNode]:
    nodes = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    operations: dict[str | None, OperationDefinitionNode] = {
        node.name.value: node for node in nodes if node.name
    }
    if len(nodes) == 1:
        operations[None] = nodes[0]
    return operations
