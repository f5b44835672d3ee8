"""From a text to a document that is ready to run, or the errors that forbid it.

What depends on the text alone is found out here, once for every document that is kept. The rules
are one tuple made at import, so nothing is built per request and the cache really hits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from resolvers.cost import Price, price_operations
from resolvers.limits import (
    MAX_COMMENTS,
    MAX_SOURCE_CHARACTERS,
    MAX_TOKENS,
    check_limits,
    root_fields,
)
from resolvers.transport_errors import PARSE_FAILED, VALIDATION_FAILED, mark

# Each error rescans the text for its line and may search the schema for a likely name.
_MAX_VALIDATION_ERRORS: Final = 20

# Strawberry's rule for @oneOf inputs is left out: it fails with a KeyError on valid documents whose
# fragments use variables. The value itself is checked when it is coerced.
_RULES: Final[tuple[type[ASTValidationRule], ...]] = (*specified_rules, MaybeNullValidationRule)
_RULES_IN_THE_DARK: Final = (NoSchemaIntrospectionCustomRule, *_RULES)

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
    """In whatever fragments they stand; one that is asked for under two aliases is there twice."""
    variables: frozenset[str]
    """The names it declares."""
    price: Price


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document ready to run, or the errors that forbid it."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...] = ()
    operations: Mapping[str | None, PreparedOperation] = field(default_factory=dict)
    """By name; under None the only operation, if there is only one."""


def prepare_document(
    schema: GraphQLSchema, source: str, introspection: bool = True
) -> PreparedDocument:
    """Parse and validate, the cheap checks first: the next step only sees what passed the last.

    Without `introspection` a document that asks for the schema is refused, and no error names
    what is in it beyond what the document says.
    """
    try:
        document = parse(
            source,
            max_lexical_tokens=MAX_TOKENS,
            max_comments=MAX_COMMENTS,
            max_source_length=MAX_SOURCE_CHARACTERS,
        )
    except GraphQLError as error:
        return PreparedDocument(_NO_DOCUMENT, (mark(error, PARSE_FAILED),))
    errors = _validate(schema, document, introspection)
    if errors:
        marked = tuple(mark(error, VALIDATION_FAILED) for error in errors)
        return PreparedDocument(_NO_DOCUMENT, marked)
    return PreparedDocument(document, operations=_operations(schema, document))


_NO_DOCUMENT: Final = DocumentNode(definitions=())


def _validate(
    schema: GraphQLSchema, document: DocumentNode, introspection: bool
) -> list[GraphQLError]:
    try:
        check_limits(document)
    except GraphQLError as error:
        return [error]
    rules = _RULES if introspection else _RULES_IN_THE_DARK
    return validate(
        schema,
        document,
        rules,
        max_errors=_MAX_VALIDATION_ERRORS,
        hide_suggestions=not introspection,
    )


def _operations(
    schema: GraphQLSchema, document: DocumentNode
) -> dict[str | None, PreparedOperation]:
    nodes = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    prices = price_operations(schema, document, nodes)
    prepared = [_prepare(document, *each) for each in zip(nodes, prices, strict=True)]
    operations: dict[str | None, PreparedOperation] = {
        operation.name: operation for operation in prepared if operation.name
    }
    if len(prepared) == 1:
        operations[None] = prepared[0]
    return operations


def _prepare(
    document: DocumentNode, node: OperationDefinitionNode, price: Price
) -> PreparedOperation:
    declared = node.variable_definitions or ()
    fields = root_fields(document, node)
    return PreparedOperation(
        kind=node.operation,
        name=node.name.value if node.name else None,
        # As graphql-core does: what is answered under one name is resolved once.
        root_fields=tuple({(f.alias or f.name).value: f.name.value for f in fields}.values()),
        variables=frozenset(definition.variable.name.value for definition in declared),
        price=price,
    )
