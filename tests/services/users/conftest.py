"""An identity provider on loopback, the keys it has, and a clock that stands still."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from services.users.tokens import TokenInvalid, TokenVerifier
from settings import AccessSettings

SECRET = "a secret of at least thirty-two bytes"
NOW = 1_800_000_000.0


def _rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


KEYS = {
    "rsa": _rsa_key(),
    "rsa-2": _rsa_key(),
    "weak": _rsa_key(1024),
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "secret": SECRET,
    "wrong secret": SECRET + "!",
    "nothing": None,
}


@dataclass
class Clock:
    """Seconds as the test has them."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Provider:
    """What the identity provider publishes, how it fares, how often it was asked."""

    url: str = ""
    body: bytes = b""
    status: int = 200
    fetches: int = 0
    may_answer: Event = field(default_factory=Event)

    def publish(self, *entries: object) -> None:
        """Publish these keys, by name or as they are, and no other."""
        keys = [self.entry(entry) if isinstance(entry, str) else entry for entry in entries]
        self.body = json.dumps({"keys": keys}).encode()

    def entry(self, name: str, **changes: object) -> dict[str, object]:
        """Return a public key as a set holds it; ``...`` leaves a member out."""
        algorithm = RSAAlgorithm if isinstance(KEYS[name], rsa.RSAPrivateKey) else ECAlgorithm
        jwk = {**algorithm.to_jwk(KEYS[name].public_key(), as_dict=True), "kid": name, **changes}
        return {member: value for member, value in jwk.items() if value is not ...}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    provider.may_answer.set()
    provider.publish("rsa", "ec")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.fetches += 1
            provider.may_answer.wait(5)
            self.send_response(provider.status)
            self.end_headers()
            self.wfile.write(provider.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield provider
        provider.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def access(provider: Provider) -> AccessSettings:
    return AccessSettings(
        jwt_secret=SecretStr(SECRET), jwks_url=provider.url, jwks_timeout_s=0.5, jwt_leeway_s=5
    )


@pytest.fixture
async def verifier(access: AccessSettings, clock: Clock) -> AsyncIterator[TokenVerifier]:
    verifier = TokenVerifier(access, clock=clock, monotonic=clock)
    yield verifier
    await verifier.aclose()


@pytest.fixture
def sign() -> Callable[..., str]:
    """Sign as one of KEYS would; ``...`` leaves a claim out."""

    def sign(signer: str, algorithm: str, key_id: str | None = None, **claims: object) -> str:
        said = {"sub": "alice", "exp": NOW + 60, **claims}
        kept = {claim: value for claim, value in said.items() if value is not ...}
        headers = None if key_id is None else {"kid": key_id}
        return jwt.encode(kept, KEYS[signer], algorithm=algorithm, headers=headers)

    return sign


@pytest.fixture
def refusal() -> Callable[[TokenVerifier, str], object]:
    """Return why the verifier refuses the token, and fail when it does not."""

    async def refusal(verifier: TokenVerifier, token: str) -> str:
        with pytest.raises(TokenInvalid) as caught:
            await verifier.verify(token)
        assert caught.value.reason
        return caught.value.reason

    return refusal
