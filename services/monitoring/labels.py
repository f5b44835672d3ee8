"""Label values that others choose, of which Prometheus must only see so many.

Each value is a series that is kept for ever, in every process and in Prometheus itself.
"""

from collections.abc import Iterable, Sequence

MOST_NAMES = 100
"""Names of clients' operations that get a label of their own, the first that are seen."""
SEVERAL = "several"
NO_OPERATION = "none"
_LONGEST = 64


class BoundedLabels:
    """Gives the first values that are seen a label of their own, and the others another."""

    def __init__(self, most: int, known: Iterable[str] = ()) -> None:
        """`most` values besides the known ones, which always have theirs."""
        self._left = most
        self._named = set(known)

    def of(self, value: str, otherwise: str) -> str:
        """The label of the value: itself, or `otherwise`."""
        if value in self._named:
            return value
        if self._left <= 0 or len(value) > _LONGEST:
            return otherwise
        self._left -= 1
        self._named.add(value)
        return value


def field_label(root_fields: Sequence[str]) -> str:
    """The one root field of an operation; names of fields are as many as the schema has."""
    return root_fields[0] if len(root_fields) == 1 else SEVERAL


def operation_label(names: BoundedLabels, name: str | None, root_fields: Sequence[str]) -> str:
    """The name a client gave its operation while there is room, else the field it asks for.

    Only of operations that are valid: whoever makes up names shows up by fields, as do those who
    come after them, and nothing else is lost.
    """
    field = field_label(root_fields)
    return field if name is None else names.of(name, field)
