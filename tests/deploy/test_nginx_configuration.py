"""nginx's configuration, against itself and against what the mall does."""

import inspect
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import crossplane
import pytest
import uvicorn
from strawberry.http.streaming import SSE_HEARTBEAT_INTERVAL

from settings import ServerSettings, StoreSettings
from tests.deploy.shipped import DEPLOY, nginx_copy, services

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
_MEBIBYTE = 1024 * 1024


def _directives(block: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of a block, those within its blocks included."""
    inner = [found for one in block for found in _directives(one.get("block", []))]
    return block + inner


def _parsed(*, strict: bool) -> dict[str, Any]:
    # Not the context of included files, which crossplane cannot tell.
    return crossplane.parse(
        str(DEPLOY / "nginx" / "nginx.conf"), strict=strict, check_ctx=False, check_args=True
    )


@pytest.fixture(scope="module")
def directives() -> list[dict[str, Any]]:
    """Every directive of every file that nginx reads."""
    return [one for file in _parsed(strict=False)["config"] for one in _directives(file["parsed"])]


def test_every_directive_is_one(directives: list[dict[str, Any]]) -> None:
    """Known, and with as many arguments as it takes. What a `map` maps looks like one."""
    mapped = {
        line["line"] for one in directives if one["directive"] == "map" for line in one["block"]
    }
    errors = [error for error in _parsed(strict=True)["errors"] if error["line"] not in mapped]
    assert errors == []


def _value(directives: list[dict[str, Any]], name: str) -> str:
    """What the one directive of that name says first."""
    values = {one["args"][0] for one in directives if one["directive"] == name}
    assert len(values) == 1, values
    return values.pop()


def _seconds(directives: list[dict[str, Any]], name: str) -> int:
    return int(_value(directives, name).removesuffix("s"))


def test_bodies_are_as_large_as_the_mall_takes(directives: list[dict[str, Any]]) -> None:
    """Neither more, which the mall would read, nor less, which would refuse an import of codes."""
    megabytes = int(_value(directives, "client_max_body_size").removesuffix("m"))
    assert megabytes * _MEBIBYTE == ServerSettings().max_body_bytes


def test_the_mall_says_what_was_missing(directives: list[dict[str, Any]]) -> None:
    """nginx waits for longer than the mall does, and than anything there is silent."""
    server, stores = ServerSettings(), StoreSettings()
    longest_s = stores.database_statement_timeout_s + stores.database_pool_wait_s
    heartbeat_s = max(server.ping_interval_s + server.ping_timeout_s, SSE_HEARTBEAT_INTERVAL)
    assert _seconds(directives, "proxy_read_timeout") > max(longest_s, heartbeat_s)


def test_kept_connections_are_given_up_first_here(directives: list[dict[str, Any]]) -> None:
    """Else a request could be sent into a connection that the mall is just closing."""
    closes_after_s = inspect.signature(uvicorn.Config).parameters["timeout_keep_alive"].default
    kept_s = [one["args"][0] for one in directives if one["directive"] == "keepalive_timeout"]
    assert min(int(value.removesuffix("s")) for value in kept_s) < closes_after_s


def test_connections_are_refused_by_the_mall(directives: list[dict[str, Any]]) -> None:
    """It says why; nginx's own limit stands behind it."""
    [limit] = [one["args"][1] for one in directives if one["directive"] == "limit_conn"]
    assert int(limit) > ServerSettings().connections_per_address


def test_it_serves_the_services(directives: list[dict[str, Any]]) -> None:
    """Behind it stand the web processes of compose.yaml, all of them."""
    [upstream] = [one for one in directives if one["directive"] == "upstream"]
    behind = {one["args"][0] for one in upstream["block"] if one["directive"] == "server"}
    web = {name for name, one in services().items() if one.get("command") == ["serve"]}
    assert behind == {f"{name}:8000" for name in web}


def test_the_file_for_tls_is_one(tmp_path: Path) -> None:
    """The example that is copied parses as well."""
    file = tmp_path / "tls.conf"
    text = (DEPLOY / "nginx" / "servers" / "tls.conf.example").read_text()
    file.write_text(re.sub(r"include .*;", "", text))
    assert crossplane.parse(str(file), strict=False, check_ctx=False)["errors"] == []


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_nginx_takes_it(tmp_path: Path) -> None:
    """By its own word."""
    file = nginx_copy(tmp_path, ["127.0.0.1:1", "127.0.0.1:2"], 18080)
    found = subprocess.run([NGINX, "-t", "-c", file], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "[warn]" not in found.stderr
