"""From a text to a document that is ready to run, or the errors that forbid it.

What depends on the text alone is found out here, once for every document that is kept. The rules
are one tuple made at import, so nothing is built per request and the cache really hits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from resolvers.limits import MAX_COMMENTS, MAX_SOURCE_CHARACTERS, MAX_TOKENS, check_limits
from resolvers.transport_errors import PARSE_FAILED, VALIDATION_FAILED, mark

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
class PreparedOperation:
    """One operation of a valid document, with what its text alone tells."""

    kind: OperationType
    name: str | None
    root_fields: tuple[str, ...]
    """Each once, in whatever fragments it stands."""
    variables: frozenset[str]
    """The names it declares."""


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document ready to run, or the errors that forbid it."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...] = ()
    operations: Mapping[str | None, PreparedOperation] = field(default_factory=dict)
    """By name; under None the only operation, if there is only one."""


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


def _operations(document: DocumentNode) -> dict[str | None, PreparedOperation]:
    nodes = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    prepared = [_prepare_operation(document, node) for node in nodes]
    operations: dict[str | None, PreparedOperation] = {
        operation.name: operation for operation in prepared if operation.name
    }
    if len(prepared) == 1:
        operations[None] = prepared[0]
    return operations


def _prepare_operation(document: DocumentNode, node: OperationDefinitionNode) -> PreparedOperation:
    declared = node.variable_definitions or ()
    return PreparedOperation(
        kind=node.operation,
        name=node.name.value if node.name else None,
        root_fields=tuple(dict.fromkeys(_root_fields(document, node))),
        variables=frozenset(definition.variable.name.value for definition in declared),
    )


def _root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> Iterator[str]:
    fragments = {
        node.name.value: node.selection_set
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    found = [operation.selection_set]
    while found:
        for selection in found.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection.name.value
            elif isinstance(selection, InlineFragmentNode):
                found.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):  # once each, however often spread
                found.extend(filter(None, [fragments.pop(selection.name.value, None)]))
