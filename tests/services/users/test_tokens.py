"""Bearer tokens: which are believed, for how long, and which never."""

import asyncio
import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.users import tokens
from services.users.tokens import (
    Claims,
    Role,
    TokenInvalid,
    TokenVerifier,
    bearer_token,
    issue_token,
)
from settings import AccessSettings

NOW = 1_800_000_000.0
SECRET = SecretStr("a secret of at least thirty-two bytes")


def segment(content: object) -> bytes:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@pytest.mark.parametrize(
    ("name", "algorithm", "key_id"),
    [("secret", "HS256", None), ("rsa", "RS256", "rsa"), ("ec", "ES256", "ec")],
)
async def test_a_good_token_says_who_calls(verifier, sign, name, algorithm, key_id):
    token = sign(name, algorithm, key_id, roles=["service"])
    expected = Claims("alice", frozenset({Role.SERVICE}), None, None, None, NOW + 60)
    assert await verifier.verify(token) == expected
    assert await verifier.verify(token) == expected


@pytest.mark.parametrize(
    ("name", "algorithm", "key_id"),
    [
        ("nothing", "none", None),
        ("nothing", "none", "rsa"),
        ("wrong secret", "HS256", None),
        ("secret", "HS384", None),
        ("rsa-2", "RS256", "rsa"),
        ("rsa", "RS512", "rsa"),
        ("rsa", "PS256", "rsa"),
        ("rsa", "RS256", "ec"),
        ("ec", "ES256", "rsa"),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_token_that_no_key_of_ours_signed_is_refused(
    verifier, sign, refusal, *, name, algorithm, key_id
):
    await refusal(verifier, sign(name, algorithm, key_id))


@pytest.mark.parametrize("with_secret", [True, False])
@pytest.mark.parametrize("algorithm", ["HS256", "hs256", "none", ["HS256"], {}, None])
@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
async def test_a_public_key_is_never_taken_for_a_secret(
    access, provider, refusal, *, with_secret, algorithm, form
):
    # PyJWT will not sign with a PEM, so the forged token is put together by hand.
    public = jwt.PyJWK(provider.entry("rsa")).key.public_bytes(
        form, PublicFormat.SubjectPublicKeyInfo
    )
    said = segment({"alg": algorithm, "kid": "rsa"}) + b"." + segment({"sub": "eve", "exp": 2e9})
    forged = said + b"." + segment(jwt.get_algorithm_by_name("HS256").sign(said, public))
    secret = SECRET if with_secret else None
    verifier = TokenVerifier(access.model_copy(update={"jwt_secret": secret}))
    await refusal(verifier, forged.decode())
    await verifier.aclose()


async def test_each_kind_of_key_serves_only_where_it_is_configured(provider, clock, sign, refusal):
    by_key_set = TokenVerifier(AccessSettings(jwks_url=provider.url), clock=clock)
    await refusal(by_key_set, sign("secret", "HS256"))
    await by_key_set.aclose()
    by_secret = TokenVerifier(AccessSettings(jwt_secret=SECRET), clock=clock)
    await refusal(by_secret, sign("rsa", "RS256", "rsa"))
    await refusal(TokenVerifier(AccessSettings(), clock=clock), sign("secret", "HS256"))


async def test_an_empty_secret_is_no_secret(clock, refusal):
    said = segment({"alg": "HS256"}) + b"." + segment({"sub": "eve", "exp": 2e9})
    forged = said + b"." + segment(jwt.get_algorithm_by_name("HS256").sign(said, b""))
    access = AccessSettings(jwt_secret=SecretStr(""))
    await refusal(TokenVerifier(access, clock=clock), forged.decode())


async def test_issuer_and_audience_are_checked_when_configured(access, clock, sign, refusal):
    configured = {"jwt_issuer": "https://id.test", "jwt_audience": "mall"}
    verifier = TokenVerifier(access.model_copy(update=configured), clock=clock)
    right = {"iss": "https://id.test", "aud": ["mall", "bank"]}
    await verifier.verify(sign("secret", "HS256", **right))
    for wrong in ({"iss": "https://evil.test"}, {"iss": ...}, {"aud": "bank"}, {"aud": ...}):
        await refusal(verifier, sign("secret", "HS256", **{**right, **wrong}))
    await verifier.aclose()


async def test_an_audience_that_nobody_configured_does_not_matter(verifier, sign):
    await verifier.verify(sign("secret", "HS256", aud="bank", iss="https://anywhere.test"))


async def test_expired_and_early_tokens_are_refused(verifier, sign, refusal):
    assert await refusal(verifier, sign("secret", "HS256", exp=NOW - 5)) == "expired"
    assert "nbf" in await refusal(verifier, sign("secret", "HS256", nbf=NOW + 6))


async def test_a_token_is_forgotten_when_it_expires(verifier, clock, sign, refusal):
    token = sign("secret", "HS256")
    await verifier.verify(token)
    clock.now = NOW + 64.9
    await verifier.verify(token)
    clock.now = NOW + 65
    await refusal(verifier, token)


async def test_the_cache_is_bounded_and_keeps_what_is_used(verifier, sign, monkeypatch):
    monkeypatch.setattr(tokens, "_CACHED_TOKENS", 2)
    first, second, third = (sign("secret", "HS256", sub=name) for name in "abc")
    kept = await verifier.verify(first)
    dropped = await verifier.verify(second)
    assert await verifier.verify(first) is kept
    await verifier.verify(third)
    assert await verifier.verify(first) is kept
    assert await verifier.verify(second) is not dropped


async def test_a_refusal_is_not_cached(verifier, clock, sign, refusal):
    token = sign("secret", "HS256", nbf=NOW + 10)
    await refusal(verifier, token)
    clock.now = NOW + 10
    await verifier.verify(token)


async def test_too_long_a_token_is_refused_unread(verifier, sign, refusal):
    assert "too long" in await refusal(verifier, sign("secret", "HS256", name="x" * 8192))


@pytest.mark.parametrize(
    "token", ["", "..", "\ud800.a.b", "令.牌.。", "e30.e30.", "null.null.null"]
)
async def test_what_is_no_token_is_refused(verifier, refusal, token):
    await refusal(verifier, token)


_HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "b64", "crit", "typ"]),
    st.sampled_from(["HS256", "RS256", "none", None, False, 7, ["b64"], {}]),
)
_PAYLOADS = st.none() | st.integers() | st.dictionaries(st.text(), st.text())


@given(
    st.text()
    | st.from_regex(r"\A[\w\-]+\.[\w\-]*\.[\w\-=]*\Z")
    | st.builds(
        lambda head, body: b".".join((segment(head), segment(body), b"")).decode(),
        _HEADERS,
        _PAYLOADS,
    )
)
def test_any_other_text_is_refused_as_a_token(text):
    verifier = TokenVerifier(AccessSettings(jwt_secret=SECRET))
    with pytest.raises(TokenInvalid):
        asyncio.run(verifier.verify(text))


async def test_an_issued_token_is_a_good_one():
    secret, roles = SECRET.get_secret_value(), [Role.MEMBER]
    token = issue_token(
        secret, "bob", roles, name="Bob", now=NOW, lifetime_s=9, issuer="i", audience="a"
    )
    access = AccessSettings(jwt_secret=SECRET, jwt_issuer="i", jwt_audience="a")
    claims = await TokenVerifier(access, clock=lambda: NOW).verify(token)
    assert claims == Claims("bob", frozenset(roles), "Bob", None, None, NOW + 9, NOW)


@pytest.mark.parametrize(
    ("authorization", "token"),
    [(None, None), ("Bearer x.y.z", "x.y.z"), ("bEARER   x ", "x"), (" bearer x", "x")],
)
def test_the_token_of_a_header(authorization, token):
    assert bearer_token(authorization) == token


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic eDp5", "x.y.z"])
def test_another_header_is_refused(authorization):
    with pytest.raises(TokenInvalid):
        bearer_token(authorization)
