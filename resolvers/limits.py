"""How large a GraphQL document may be, checked in linear time before anything costly looks at it.

Validation and execution both follow fragments, so their work can grow far beyond the length of the
text. Each fragment is measured here once, however often it is spread.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

MAX_SOURCE_CHARACTERS: Final = 100_000
MAX_TOKENS: Final = 5_000
MAX_COMMENTS: Final = 1_000

MAX_DEFINITIONS: Final = 100
MAX_SELECTIONS: Final = 1_000
MAX_DEPTH: Final = 15
MAX_ALIASES: Final = 100

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

    def measure(self, selection_set: SelectionSetNode, nesting: int = 0) -> _Size:
        """Return the expanded size; raise GraphQLError when it is beyond measuring."""
        self._selections += len(selection_set.selections)
        if self._selections > MAX_SELECTIONS:
            raise _too_large(f"more than {MAX_SELECTIONS} selections", selection_set)
        if nesting > _MAX_NESTING:
            raise _too_large(f"fields and fragments nested over {_MAX_NESTING}", selection_set)
        depth = aliases = 0
        for selection in selection_set.selections:
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
            _check_size(meter.measure_fragment(node.name.value), node)
        elif isinstance(node, (OperationDefinitionNode, FragmentDefinitionNode)):
            _check_size(meter.measure(node.selection_set), node)


def _check_size(size: _Size, node: OperationDefinitionNode | FragmentDefinitionNode) -> None:
    if size.depth > MAX_DEPTH:
        raise _too_large(f"a depth of {size.depth}, at most {MAX_DEPTH} is allowed", node)
    if size.aliases > MAX_ALIASES:
        raise _too_large(f"more than {MAX_ALIASES} aliases", node)


def _too_large(
    what: str, node: SelectionSetNode | OperationDefinitionNode | FragmentDefinitionNode | None
) -> GraphQLError:
    return GraphQLError(f"The document is too large: it has {what}.", node)
