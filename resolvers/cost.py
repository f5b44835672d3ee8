"""What an operation may cost, known before it runs: about the number of objects it may answer with.

A field that returns an object costs 1, a scalar nothing, a root field 1 at least, a mutation 10.
What stands in a list counts as often as its page is long. Everything that depends on the document
alone is added up once, each fragment once however often it is spread; what is left for a request
is a list of sums, which its variables are put into. Alternatives of a union are all counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLList,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value

WEIGHTS: Final[Mapping[tuple[str, str], int]] = {
    # Statistics over every member of an experiment.
    ("Experiment", "results"): 100,
    # A statement for each list, over all that would be on its pages.
    ("ExchangeItemConnection", "totalCount"): 20,
    # A year of days.
    ("Query", "kpis"): 500,
    # What is kept of every month and cohort.
    ("Query", "pointsLiability"): 20,
}
"""Fields that cost more than what they return, by type and name."""

_MUTATION: Final = 10
_INTROSPECTION: Final = 100
"""For `__schema` and `__type` with all below them: no SQL, and how deep it goes is limited."""

_SIZES: Final[Mapping[str, int]] = {"first": 1, "top": 1, "limit": 1, "days": 1, "window": 2}
"""Arguments that say how long a list is; `window` looks both ways."""

_UNSIZED: Final = 10
"""How long a list is that no argument sizes, such as the tags of an item."""

_LONGEST: Final = 1_000
"""No list is longer, whatever is asked for: what is out of range is refused when it runs."""

MOST_OF_A_SUBSCRIPTION: Final = 500
"""What one may cost each time it tells of a change: a board of 100 costs 300."""

MOST: Final = 1_000_000_000
"""Whatever would cost more costs this, so no number grows without end."""


class _Size(NamedTuple):
    """The value of a variable, as the length of a list."""

    variable: str
    fallback: int
    """Where it has no value and no default."""
    factor: int


class _Sum(NamedTuple):
    """The place of a sum whose value depends on variables."""

    position: int


_Value: TypeAlias = int | _Sum
_Step: TypeAlias = tuple[int, Sequence[tuple[int | _Size, _Value]]]
"""What is fixed, and what is added so many times."""


class _Cost(NamedTuple):
    """Of a selection set: of its plain fields, and of one element of each of its unsized lists."""

    plain: _Value
    listed: _Value


_NOTHING: Final = _Cost(0, 0)


@dataclass(frozen=True, slots=True)
class Price:
    """What one operation costs, as a function of its variables."""

    total: _Value = 0
    steps: Sequence[_Step] = ()
    """Each may use those before it. Those of all operations of a document are one list."""
    defaults: Mapping[str, int] = field(default_factory=dict)

    def of(self, variables: Mapping[str, Any]) -> int:
        """The cost with these variables, which may be of any type and value."""
        if isinstance(self.total, int):
            return self.total
        results: list[int] = []
        for fixed, terms in islice(self.steps, self.total.position + 1):
            result = fixed
            for times, value in terms:
                number = value if isinstance(value, int) else results[value.position]
                result += number * (
                    times if isinstance(times, int) else self._read(times, variables)
                )
            results.append(min(result, MOST))
        return results[-1]

    def _read(self, size: _Size, given: Mapping[str, Any]) -> int:
        value = given.get(size.variable, self.defaults.get(size.variable))
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return _clamp(value) * size.factor  # an Int may be written 100.0 or 1e2
        return size.fallback


def price_operations(
    schema: GraphQLSchema, document: DocumentNode, nodes: Sequence[OperationDefinitionNode]
) -> list[Price]:
    """The price of each of these operations of a valid document, in time linear in its length."""
    meter = _Meter(schema, document)
    return [Price(meter.price(node), meter.steps, _defaults(node)) for node in nodes]


class _Adding:
    """A sum that is being made."""

    def __init__(self, fixed: int = 0) -> None:
        self.fixed = fixed
        self.terms: list[tuple[int | _Size, _Value]] = []

    def add(self, value: _Value, times: int | _Size = 1) -> None:
        if value == 0:
            return
        if isinstance(value, int) and isinstance(times, int):
            self.fixed = min(MOST, self.fixed + value * times)
        else:
            self.terms.append((times, value))


class _Meter:
    """Adds up the selection sets of one document, each fragment once."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._measured: dict[str, _Cost] = {}
        self.steps: list[_Step] = []

    def price(self, operation: OperationDefinitionNode) -> _Value:
        """What the operation costs; may add steps."""
        root = self._schema.get_root_type(operation.operation)
        cost = self._measure(operation.selection_set, root)
        total = _Adding()
        total.add(cost.plain)
        total.add(cost.listed, _UNSIZED)
        return self._close(total)

    def _close(self, sum_: _Adding) -> _Value:
        match sum_.fixed, sum_.terms:
            case fixed, []:
                return fixed
            case 0, [(1, _Sum() as value)]:
                return value
            case _:
                pass
        self.steps.append((sum_.fixed, tuple(sum_.terms)))
        return _Sum(len(self.steps) - 1)

    def _measure(self, selection_set: SelectionSetNode, parent: GraphQLNamedType | None) -> _Cost:
        plain, listed = _Adding(), _Adding()
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                self._add_field(selection, parent, plain, listed)
            else:
                cost = self._measure_fragment(selection, parent)
                plain.add(cost.plain)
                listed.add(cost.listed)
        return _Cost(self._close(plain), self._close(listed))

    def _measure_fragment(self, selection: SelectionNode, parent: GraphQLNamedType | None) -> _Cost:
        if isinstance(selection, InlineFragmentNode):
            condition = selection.type_condition
            kind = self._schema.get_type(condition.name.value) if condition else parent
            return self._measure(selection.selection_set, kind)
        if not isinstance(selection, FragmentSpreadNode):
            return _NOTHING
        name = selection.name.value
        if name not in self._measured:
            fragment = self._fragments[name]
            kind = self._schema.get_type(fragment.type_condition.name.value)
            self._measured[name] = self._measure(fragment.selection_set, kind)
        return self._measured[name]

    def _add_field(
        self, node: FieldNode, parent: GraphQLNamedType | None, plain: _Adding, listed: _Adding
    ) -> None:
        name = node.name.value
        declared: GraphQLField | None = getattr(parent, "fields", {}).get(name)
        if declared is None:  # a field of every type
            plain.add(0 if name == "__typename" else _INTROSPECTION)
            return
        is_list = isinstance(get_nullable_type(declared.type), GraphQLList)
        size = _size(node, declared)
        amount = _Adding(self._weight(parent, name, declared))
        if node.selection_set is not None:
            inner = self._measure(node.selection_set, get_named_type(declared.type))
            amount.add(inner.plain)
            # The page size of a connection is the length of the lists right below it.
            amount.add(inner.listed, _UNSIZED if is_list or size is None else size)
        if is_list and size is None:
            listed.add(self._close(amount))
        else:
            plain.add(self._close(amount), size if is_list and size is not None else 1)

    def _weight(self, parent: GraphQLNamedType | None, name: str, declared: GraphQLField) -> int:
        if parent is not None and (parent.name, name) in WEIGHTS:
            return WEIGHTS[parent.name, name]
        if parent is self._schema.get_root_type(OperationType.MUTATION):
            return _MUTATION
        is_root = parent in (
            self._schema.get_root_type(OperationType.QUERY),
            self._schema.get_root_type(OperationType.SUBSCRIPTION),
        )
        return 0 if is_leaf_type(get_named_type(declared.type)) and not is_root else 1


def _size(node: FieldNode, declared: GraphQLField) -> int | _Size | None:
    for name, factor in _SIZES.items():
        if name not in declared.args:
            continue
        default: object = coerce_default_value(declared.args[name])
        fallback = _clamp(default) * factor if isinstance(default, int) else _UNSIZED
        given = next((each.value for each in node.arguments or () if each.name.value == name), None)
        if isinstance(given, VariableNode):
            return _Size(given.name.value, fallback, factor)
        literal = _literal(given)
        return fallback if literal is None else literal * factor
    return None


def _defaults(operation: OperationDefinitionNode) -> dict[str, int]:
    literals = {
        each.variable.name.value: _literal(each.default_value)
        for each in operation.variable_definitions or ()
    }
    return {name: value for name, value in literals.items() if value is not None}


def _literal(node: object) -> int | None:
    # Validation has refused what is no Int, so there are ten digits at most.
    return _clamp(int(node.value)) if isinstance(node, IntValueNode) else None


def _clamp(value: float) -> int:
    return int(max(1, min(value, _LONGEST)))
