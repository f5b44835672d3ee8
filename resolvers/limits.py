"""How large a GraphQL document may be, checked in linear time before anything costly looks at it.

Validation and execution both follow fragments, so their work can grow far beyond the length of the
text. Each fragment is measured here once, however often it is spread.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

MAX_SOURCE_CHARACTERS: Final = 100_000
MAX_TOKENS: Final = 5_000
MAX_COMMENTS: Final = 1_000

MAX_DEFINITIONS: Final = 100
MAX_OPERATIONS: Final = 20
MAX_SELECTIONS: Final = 1_000
MAX_DEPTH: Final = 15
MAX_ALIASES: Final = 100
MAX_ROOT_FIELDS: Final = 50
MAX_VARIABLES: Final = 100
MAX_DIRECTIVES: Final = 50
MAX_DIRECTIVES_AT_A_PLACE: Final = 4

MAX_VARIABLE_DEPTH: Final = 32
MAX_VARIABLE_VALUES: Final = 50_000
"""10,000 coupon codes, each an object with its end, are 30,001."""

# Guards this module's own recursion: fields, inline fragments and spreads each add one. A document
# of the greatest allowed depth with a fragment at every field still passes.
_MAX_NESTING: Final = 3 * MAX_DEPTH

# The introspection query of every client is about as deep as the limit and goes deeper with each
# release of GraphQL. graphql-core's own rule bounds the nesting of lists below these two fields.
_INTROSPECTION_ROOTS: Final = frozenset({"__schema", "__type"})


class _Size(NamedTuple):
    """What a selection set amounts to once every fragment is put in its place."""

    depth: int
    aliases: int


_NOTHING: Final = _Size(0, 0)


class _Meter:
    """Measures the selection sets of one document, each fragment once."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._sizes: dict[str, _Size] = {}
        self._selections = 0
        self._directives = 0

    def count(self, directives: Sequence[DirectiveNode] | None, node: Node) -> None:
        """Raise GraphQLError for too many directives at this place, or in all."""
        number = len(directives or ())
        self._directives += number
        if number > MAX_DIRECTIVES_AT_A_PLACE:
            raise _too_large(f"more than {MAX_DIRECTIVES_AT_A_PLACE} directives in a place", node)
        if self._directives > MAX_DIRECTIVES:
            raise _too_large(f"more than {MAX_DIRECTIVES} directives", node)

    def measure(self, selection_set: SelectionSetNode, nesting: int = 0) -> _Size:
        """Return the expanded size; raise GraphQLError when it is beyond measuring."""
        self._selections += len(selection_set.selections)
        if self._selections > MAX_SELECTIONS:
            raise _too_large(f"more than {MAX_SELECTIONS} selections", selection_set)
        if nesting > _MAX_NESTING:
            raise _too_large(f"fields and fragments nested over {_MAX_NESTING}", selection_set)
        depth = aliases = 0
        for selection in selection_set.selections:
            self.count(selection.directives, selection)
            size = self._measure_selection(selection, nesting + 1)
            depth = max(depth, size.depth)
            aliases += size.aliases
        return _Size(depth, aliases)

    def _measure_selection(self, selection: SelectionNode, nesting: int) -> _Size:
        if isinstance(selection, FragmentSpreadNode):
            return self.measure_fragment(selection.name.value, nesting)
        inner: SelectionSetNode | None = getattr(selection, "selection_set", None)
        size = self.measure(inner, nesting) if inner else _NOTHING
        if not isinstance(selection, FieldNode):
            return size
        depth = 0 if selection.name.value in _INTROSPECTION_ROOTS else size.depth
        return _Size(depth + 1, size.aliases + (selection.alias is not None))

    def measure_fragment(self, name: str, nesting: int = 0) -> _Size:
        """Return what spreading the fragment adds; raise GraphQLError like ``measure``."""
        fragment = self._fragments.get(name)
        if fragment is None:  # validation says so, with a better message
            return _NOTHING
        if name not in self._sizes:
            self._sizes[name] = _NOTHING  # ends a cycle, which validation reports
            self._sizes[name] = self.measure(fragment.selection_set, nesting)
        return self._sizes[name]


def check_limits(document: DocumentNode) -> None:
    """Raise GraphQLError when the document is larger than a client ever needs."""
    definitions = document.definitions
    if len(definitions) > MAX_DEFINITIONS:
        raise _too_large(f"more than {MAX_DEFINITIONS} operations and fragments", None)
    fragments = {
        node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)
    }
    meter = _Meter(fragments)
    for node in definitions:
        # Fragments that nothing spreads, or whose name is taken, are measured too: validation
        # reads them all the same.
        if isinstance(node, FragmentDefinitionNode) and fragments[node.name.value] is node:
            meter.count(node.directives, node)
            _check_size(meter.measure_fragment(node.name.value), node)
        elif isinstance(node, (OperationDefinitionNode, FragmentDefinitionNode)):
            meter.count(node.directives, node)
            _check_size(meter.measure(node.selection_set), node)
    _check_operations(document, meter)


def _check_operations(document: DocumentNode, meter: _Meter) -> None:
    operations = [
        node for node in document.definitions if isinstance(node, OperationDefinitionNode)
    ]
    if len(operations) > MAX_OPERATIONS:
        raise _too_large(f"more than {MAX_OPERATIONS} operations", operations[MAX_OPERATIONS])
    for node in operations:
        variables = node.variable_definitions or ()
        if len(variables) > MAX_VARIABLES:
            raise _too_large(f"more than {MAX_VARIABLES} variables", node)
        for variable in variables:
            meter.count(variable.directives, variable)
        # Fields of one name in the answer are one field, however often they are selected.
        keys = {(field.alias or field.name).value for field in root_fields(document, node)}
        if len(keys) > MAX_ROOT_FIELDS:
            raise _too_large(f"more than {MAX_ROOT_FIELDS} fields at its root", node)


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> Iterator[FieldNode]:
    """The fields at the root of an operation, those of each fragment once."""
    fragments = {
        node.name.value: node.selection_set
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    found = [operation.selection_set]
    while found:
        for selection in found.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection
            elif isinstance(selection, InlineFragmentNode):
                found.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):  # once each, however often spread
                found.extend(filter(None, [fragments.pop(selection.name.value, None)]))


def _check_size(size: _Size, node: OperationDefinitionNode | FragmentDefinitionNode) -> None:
    if size.depth > MAX_DEPTH:
        raise _too_large(f"a depth of {size.depth}, at most {MAX_DEPTH} is allowed", node)
    if size.aliases > MAX_ALIASES:
        raise _too_large(f"more than {MAX_ALIASES} aliases", node)


def _too_large(what: str, node: Node | None) -> GraphQLError:
    return GraphQLError(f"The document is too large: it has {what}.", node)


def check_variables(given: Sequence[Any]) -> str | None:
    """Why these variables are more than a client ever needs, None when they are not.

    No more of them is looked at than is allowed.
    """
    values = 0
    waiting: list[tuple[int, Any]] = [(0, given)]
    while waiting:
        depth, value = waiting.pop()
        if depth > MAX_VARIABLE_DEPTH:
            return f"Variables are nested {MAX_VARIABLE_DEPTH} deep at most"
        values += len(value)
        if values > MAX_VARIABLE_VALUES:
            return f"Variables hold {MAX_VARIABLE_VALUES:,} values at most"
        inner = value.values() if isinstance(value, dict) else value
        waiting += [(depth + 1, each) for each in inner if isinstance(each, (dict, list))]
    return None
