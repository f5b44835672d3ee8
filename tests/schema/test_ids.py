"""Global ids: opaque, one spelling each, and nothing but bad input for anything else."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.ids import decode_id, encode_id, int_key, parse_int, parse_uuid, uuid_key
from services.errors import BadInput

KINDS = st.sampled_from(["User", "Task", "ExchangeItem", "PointsRecord", "Coupon"])


@given(KINDS, st.integers(min_value=0, max_value=10**18 - 1))
def test_numbers_come_back(kind: str, key: int) -> None:
    """For their own kind, and as text."""
    id_ = encode_id(kind, key)
    assert int_key(id_, kind) == key
    assert decode_id(id_) == (kind, str(key))


@given(KINDS, st.uuids())
def test_uuids_come_back(kind: str, key: UUID) -> None:
    """For their own kind."""
    assert uuid_key(encode_id(kind, key), kind) == key


@given(KINDS, KINDS, st.integers(min_value=0, max_value=10**18 - 1), st.uuids())
def test_an_id_is_good_for_its_kind_alone(kind: str, other: str, key: int, uuid: UUID) -> None:
    """A task's id is no item's, though the number is the same."""
    if kind == other:
        return
    with pytest.raises(BadInput):
        int_key(encode_id(kind, key), other)
    with pytest.raises(BadInput):
        uuid_key(encode_id(kind, uuid), other)


@given(st.one_of(st.text(), st.text(alphabet=st.characters(categories=["Cs", "Nd", "Lu"]))))
def test_any_text_is_an_id_or_bad_input(text: str) -> None:
    """Nothing else is ever raised; what is an id has no second spelling."""
    for read in (decode_id, lambda value: int_key(value, "Task")):
        try:
            read(text)
        except BadInput:
            continue
        assert encode_id(*decode_id(text)) == text


@given(st.binary(max_size=300))
def test_any_bytes_in_base64_are_an_id_or_bad_input(raw: bytes) -> None:
    """With its padding and without."""
    padded = base64.urlsafe_b64encode(raw).decode()
    for text in (padded, padded.rstrip("=")):
        try:
            kind, key = decode_id(text)
        except BadInput:
            continue
        assert text == padded.rstrip("=")
        assert f"{kind}:{key}".encode() == raw


@given(st.text())
def test_any_key_is_a_number_or_bad_input(key: str) -> None:
    """ASCII digits alone make a number, and not more than a bigint holds."""
    try:
        number = parse_int(key)
    except BadInput:
        return
    assert 0 <= number < 2**63
    assert set(key) <= set("0123456789")


@given(st.text())
def test_any_key_is_a_uuid_or_bad_input(key: str) -> None:
    """Nothing else is raised."""
    try:
        parse_uuid(key)
    except BadInput:
        return
    assert UUID(key)


@pytest.mark.parametrize("key", ["", "-1", "+1", " 1", "1_0", "１", "٣", "²", "1" * 19])
def test_what_only_looks_like_a_number_is_none(key: str) -> None:
    """Signs, spaces, separators, digits of other scripts, and more than fits."""
    with pytest.raises(BadInput):
        int_key(encode_id("Task", key), "Task")


@pytest.mark.parametrize(
    "key",
    [
        "007",
        "{00000000-0000-7000-8000-000000000000}",
        "urn:uuid:00000000-0000-7000-8000-000000000000",
        "00000000000070008000000000000000",
        "00000000-0000-7000-8000-00000000000A",
    ],
)
def test_a_thing_has_one_id(key: str) -> None:
    """Clients compare and cache by it."""
    read = parse_int if key.isdigit() and len(key) < 19 else parse_uuid
    with pytest.raises(BadInput):
        read(key)
