"""`make run`: the whole mall on this machine, with demo data and a token to start with."""

import asyncio
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from dev.demo.load import is_empty, load_demo
from dev.embedded import embedded_stores
from dev.supervisor import ProcessSpec, at_once, require_free_port, run_children
from models.migrations import migrate
from models.stores import open_stores
from services.calendar import system_clock
from services.transaction import transaction
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import AccessSettings, Settings, SettingsError, StoreSettings

_ROOT = Path(__file__).parent.parent
_DEMO_MEMBER = "alice"
_STOP_GRACE_S = 15  # more than a web process gives its requests to end
_SECRET = "jwt-secret"
_PROBE_TIMEOUT_S = 1.0
_QUERY = "{ me { username balance { available expiringSoon } } tasks { name pointsReward status } }"


def kept_secret(data_dir: Path) -> SecretStr:
    """The secret that `make run` made up for this data directory.

    Raises SettingsError when it has never run there.
    """
    try:
        return SecretStr((data_dir / _SECRET).read_text())
    except FileNotFoundError as error:
        raise SettingsError(f"set MALL_JWT_SECRET: `make run` never ran in {data_dir}") from error


def _make_secret(data_dir: Path) -> SecretStr:
    """The secret that signs tokens of this data directory, made up once and kept in a file."""
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(data_dir / _SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return kept_secret(data_dir)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return kept_secret(data_dir)


def run_mall(settings: Settings) -> int:
    """Start everything, keep it running until asked to stop, and return the exit code.

    Raises PortTakenError before anything was started, and what `embedded_stores` raises.
    """
    server = settings.server
    require_free_port(server.host, server.port)
    secret = settings.access.jwt_secret or _make_secret(settings.stores.data_dir)
    print("Starting PostgreSQL and Valkey …", flush=True)
    with embedded_stores(settings.stores.data_dir) as urls:
        located = {"database_url": urls.database_url, "redis_url": urls.redis_url}
        asyncio.run(_prepare(settings.stores.model_copy(update=located), settings))
        environment = {
            "MALL_PROFILE": "dev",
            "MALL_DATABASE_URL": urls.database_url,
            "MALL_REDIS_URL": urls.redis_url,
            "MALL_JWT_SECRET": secret.get_secret_value(),
            # So that /metrics of the web process tells of the worker and the scheduler, too.
            "MALL_METRICS_DIR": str(settings.stores.data_dir.resolve() / "metrics"),
        }
        address = f"http://{server.host}:{server.port}"
        token = _demo_token(secret, settings.access)
        children = [
            _child("serve", environment, is_ready=partial(_answers, f"{address}/livez")),
            _child("worker", environment),
            _child("scheduler", environment),
        ]
        return run_children(children, servers=urls.servers, on_ready=_welcome(address, token))


def _child(
    command: str, environment: Mapping[str, str], is_ready: Callable[[], bool] = at_once
) -> ProcessSpec:
    return ProcessSpec(
        name=command,
        argv=[sys.executable, str(_ROOT / "cli.py"), command],
        environment=environment,
        stop_grace_s=_STOP_GRACE_S,
        is_ready=is_ready,
    )


async def _prepare(stores: StoreSettings, settings: Settings) -> None:
    async with open_stores(stores) as opened:
        await migrate(opened.engine)
        async with transaction(opened.write) as session:
            if await is_empty(session):
                print("Loading demo data …", flush=True)
                await load_demo(session, system_clock(), settings.mall.zone)


def _demo_token(secret: SecretStr, access: AccessSettings) -> str:
    return issue_token(
        secret.get_secret_value(),
        _DEMO_MEMBER,
        [Role.MEMBER],
        name=_DEMO_MEMBER,
        issuer=access.jwt_issuer,
        audience=access.jwt_audience,
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_TIMEOUT_S):
            return True
    except (urllib.error.URLError, TimeoutError):
        return False


def _python() -> str:
    """How to call this interpreter from here: what a shell calls python has not the libraries."""
    python = Path(sys.executable)
    return str(python.relative_to(_ROOT) if python.is_relative_to(_ROOT) else python)


def _welcome(address: str, token: str) -> Callable[[], None]:
    def say() -> None:
        print(
            f"""
The mall is open at {address}/graphql (in a browser: GraphiQL). Ctrl-C closes it.

A token of the demo member {_DEMO_MEMBER}, for the header Authorization:

  Bearer {token}

A first query:

  curl {address}/graphql -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer {token}' \\
    -d '{{"query": "{_QUERY}"}}'

More tokens: {_python()} cli.py token NAME --role operator --days 30
""",
            flush=True,
        )

    return say
