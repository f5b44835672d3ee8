"""Global ids: opaque to clients, a kind and a key to us."""

import base64
import binascii
from uuid import UUID

import strawberry

from services.errors import BadInput
from services.identifiers import global_id

_LONGEST = 200
_MOST_DIGITS = 18  # any such number fits a bigint


def encode_id(kind: str, key: object) -> strawberry.ID:
    """The global id of the `kind` (a type's name) with that key."""
    return strawberry.ID(global_id(kind, key))


def decode_id(value: str) -> tuple[str, str]:
    """(kind, key) of a global id; raises BadInput for what `encode_id` would not have made."""
    try:
        padded = value[:_LONGEST] + "=" * (-len(value) % 4)
        kind, separator, key = (
            base64.b64decode(padded, b"-_", validate=True).decode().partition(":")
        )
    except (binascii.Error, ValueError) as error:
        raise BadInput("the id is malformed") from error
    if not separator or encode_id(kind, key) != value:
        raise BadInput("the id is malformed")
    return kind, key


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
    number = int(key) if key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS else None
    if number is None or str(number) != key:  # else 007 would be another id of 7
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
