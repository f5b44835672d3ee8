"""Global ids: opaque to clients, a kind and a key to us."""

from uuid import UUID

import strawberry

from services.errors import BadInput
from services.identifiers import global_id, read_global_id, read_number


def encode_id(kind: str, key: object) -> strawberry.ID:
    """The global id of the `kind` (a type's name) with that key."""
    return strawberry.ID(global_id(kind, key))


def decode_id(value: str) -> tuple[str, str]:
    """(kind, key) of a global id; raises BadInput for what `encode_id` would not have made."""
    found = read_global_id(value)
    if found is None:
        raise BadInput("the id is malformed")
    return found


def _key_of(value: str, kind: str) -> str:
    found, key = decode_id(value)
    if found != kind:
        raise BadInput(f"the id does not name a {kind}")
    return key


def int_key(value: str, kind: str) -> int:
    """The number in the id of a `kind`; raises BadInput for any other id."""
    return parse_int(_key_of(value, kind))


def uuid_key(value: str, kind: str) -> UUID:
    """The UUID in the id of a `kind`; raises BadInput for any other id."""
    return parse_uuid(_key_of(value, kind))


def parse_int(key: str) -> int:
    """A key that is a number; raises BadInput."""
    number = read_number(key)
    if number is None:
        raise BadInput("the id is malformed")
    return number


def parse_uuid(key: str) -> UUID:
    """A key that is a UUID; raises BadInput."""
    try:
        found = UUID(key)
    except ValueError as error:
        raise BadInput("the id is malformed") from error
    if str(found) != key:
        raise BadInput("the id is malformed")
    return found
