"""The key set: fetched rarely, rotated, and survived when the identity provider is down."""

import asyncio
import json
import time

import pytest

from services.users.tokens import KeySetUnavailable, TokenVerifier
from settings import AccessSettings


async def test_one_fetch_serves_everybody(verifier, provider, sign):
    tokens = [sign("rsa", "RS256", "rsa", sub=f"user-{number}") for number in range(20)]
    await asyncio.gather(*(verifier.verify(token) for token in tokens))
    await verifier.verify(sign("ec", "ES256", "ec"))
    assert provider.fetches == 1


async def test_the_set_is_fetched_again_when_it_is_old(verifier, provider, clock, sign):
    await verifier.verify(sign("rsa", "RS256", "rsa"))
    clock.now += 299
    await verifier.verify(sign("rsa", "RS256", "rsa", exp=clock.now + 1))
    assert provider.fetches == 1
    clock.now += 1
    await verifier.verify(sign("rsa", "RS256", "rsa", exp=clock.now + 1))
    assert provider.fetches == 2


async def test_a_rotated_key_is_found(verifier, provider, clock, sign, refusal):
    await verifier.verify(sign("rsa", "RS256", "rsa"))
    provider.publish("rsa-2")
    clock.now += 10
    await verifier.verify(sign("rsa-2", "RS256", "rsa-2"))
    await refusal(verifier, sign("rsa", "RS256", "rsa", sub="bob"))
    assert provider.fetches == 2


async def test_a_withdrawn_key_does_not_live_on_in_what_it_signed(
    verifier, provider, clock, sign, refusal
):
    token = sign("rsa", "RS256", "rsa", exp=clock.now + 86_400)
    await verifier.verify(token)
    provider.publish("rsa-2")
    clock.now += 300
    await refusal(verifier, token)


async def test_a_storm_of_unknown_keys_does_not_reach_the_provider(
    verifier, provider, clock, sign, refusal
):
    await verifier.verify(sign("rsa", "RS256", "rsa"))
    for second in range(1, 21):
        clock.now += 1
        storm = [sign("rsa-2", "RS256", f"key-{second}-{number}") for number in range(5)]
        await asyncio.gather(*(refusal(verifier, token) for token in storm))
    assert provider.fetches == 3


async def test_a_token_without_key_id_needs_an_only_key(verifier, provider, clock, sign, refusal):
    await verifier.verify(sign("rsa", "RS256"))
    provider.publish("rsa", "rsa-2")
    clock.now += 300
    await refusal(verifier, sign("rsa", "RS256", exp=clock.now + 60))
    assert provider.fetches == 2


async def test_without_any_key_the_answer_is_that_nobody_knows(verifier, provider, clock, sign):
    provider.status = 503
    for _ in range(3):
        with pytest.raises(KeySetUnavailable):
            await verifier.verify(sign("rsa", "RS256", "rsa"))
    assert provider.fetches == 1
    provider.status = 200
    clock.now += 1
    await verifier.verify(sign("rsa", "RS256", "rsa"))


async def test_older_keys_serve_while_the_provider_is_down(verifier, provider, clock, sign):
    await verifier.verify(sign("rsa", "RS256", "rsa"))
    provider.status = 500
    for age_s in (300, 305, 309):
        clock.now = 1_800_000_000 + age_s
        await verifier.verify(sign("rsa", "RS256", "rsa", exp=clock.now + 1))
    assert provider.fetches == 2
    with pytest.raises(KeySetUnavailable):  # perhaps a new key: nobody can tell
        await verifier.verify(sign("rsa-2", "RS256", "rsa-2", exp=clock.now + 1))


async def test_nobody_waits_for_a_provider_known_to_be_down(verifier, provider, clock, sign):
    await verifier.verify(sign("rsa", "RS256", "rsa"))
    provider.status = 500
    clock.now += 300
    await verifier.verify(sign("rsa", "RS256", "rsa", exp=clock.now + 60))
    provider.may_answer.clear()
    clock.now += 10
    begun_s = time.perf_counter()
    await verifier.verify(sign("rsa", "RS256", "rsa", exp=clock.now + 60))
    assert time.perf_counter() - begun_s < 0.4  # the provider's timeout is 0.5 s
    provider.status = 200
    provider.publish("rsa", "rsa-2")
    provider.may_answer.set()
    await verifier.verify(sign("rsa-2", "RS256", "rsa-2", exp=clock.now + 60))
    assert provider.fetches == 3


async def test_a_provider_that_hangs_is_given_up(verifier, provider, sign):
    provider.may_answer.clear()
    begun_s = time.perf_counter()
    with pytest.raises(KeySetUnavailable):
        await verifier.verify(sign("rsa", "RS256", "rsa"))
    assert time.perf_counter() - begun_s < 2


async def test_a_caller_who_goes_away_does_not_fail_the_others(verifier, provider, sign):
    provider.may_answer.clear()
    first = asyncio.create_task(verifier.verify(sign("rsa", "RS256", "rsa", sub="first")))
    second = asyncio.create_task(verifier.verify(sign("rsa", "RS256", "rsa", sub="second")))
    await asyncio.sleep(0.05)
    first.cancel()
    provider.may_answer.set()
    assert (await second).subject == "second"
    assert provider.fetches == 1


async def test_only_one_fetch_is_in_flight(verifier, provider, clock, sign):
    provider.may_answer.clear()
    first = asyncio.create_task(verifier.verify(sign("rsa", "RS256", "rsa", sub="first")))
    await asyncio.sleep(0.05)
    clock.now += 2  # a retry would be due
    second = asyncio.create_task(verifier.verify(sign("rsa", "RS256", "rsa", sub="second")))
    await asyncio.sleep(0.05)
    provider.may_answer.set()
    await asyncio.gather(first, second)
    assert provider.fetches == 1


async def test_a_provider_that_refuses_connections_is_down(sign):
    verifier = TokenVerifier(AccessSettings(jwks_url="http://127.0.0.1:1/jwks.json"))
    with pytest.raises(KeySetUnavailable):
        await verifier.verify(sign("rsa", "RS256", "rsa"))
    await verifier.aclose()


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"{}", b'{"keys": 7}', b'{"keys": []}', b'{"keys": [7]}']
)
async def test_an_answer_that_is_no_key_set_counts_as_none(verifier, provider, sign, answer):
    provider.body = answer
    with pytest.raises(KeySetUnavailable):
        await verifier.verify(sign("rsa", "RS256", "rsa"))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_keys_that_are_none_of_ours_are_passed_over(verifier, provider, sign, refusal):
    shared = {"kty": "oct", "kid": "oct", "k": "c2VjcmV0" * 8, "alg": "HS256"}
    others = [
        shared,
        {**shared, "alg": "RS256"},
        {"kty": "RSA", "kid": "broken"},
        {"kty": ["RSA"]},
        provider.entry("rsa-2", use="enc"),
        provider.entry("rsa-2", kid="pss", alg="PS256"),
        "p384",
        "weak",
    ]
    provider.publish(*others, "rsa")
    await verifier.verify(sign("rsa", "RS256", "rsa"))
    for name, key_id in (("rsa-2", "rsa-2"), ("rsa-2", "pss"), ("weak", "weak")):
        await refusal(verifier, sign(name, "RS256", key_id))
    assert len(json.loads(provider.body)["keys"]) == 9
