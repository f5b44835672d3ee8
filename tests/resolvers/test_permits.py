"""Every mutation is counted, and it is decided of each whether it moves value."""

from resolvers.root import build_schema, graphql_schema
from services.limits.fields import OTHER, VALUE
from services.limits.rates import RATES


def test_every_mutation_is_decided_once() -> None:
    """A new one that nobody decided on would go on without Redis as a read does."""
    mutation = graphql_schema(build_schema()).mutation_type
    assert mutation is not None
    assert sorted([*VALUE, *OTHER]) == sorted(mutation.fields)


def test_named_limits_exist() -> None:
    """Else nothing is counted."""
    named = {limit for limits in (*VALUE.values(), *OTHER.values()) for limit in limits}
    assert named <= RATES.keys()
