"""The conformance audits of the npm package graphql-http."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.resolvers.serving import make_endpoint, serve

_AUDITS = 61
_SOURCE = Path(__file__).parent / "graphql_http"
_CACHE = Path(__file__).parents[2] / ".data" / "node" / "graphql_http"
_NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def _run(*command: str, cwd: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def _install() -> Path:
    """Copy the audit beside its packages, which npm fetches once for this checkout."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("AUDITS NOT RUN: node and npm are not on this machine")
    _CACHE.mkdir(parents=True, exist_ok=True)
    manifest = (_SOURCE / "package.json").read_text()
    installed = _CACHE / "package.json"
    is_complete = (_CACHE / "node_modules" / "graphql-http").is_dir()
    if not (is_complete and installed.exists() and installed.read_text() == manifest):
        installed.write_text(manifest)
        options = ("--no-package-lock", "--no-audit", "--no-fund")
        status, _, errors = await _run(npm, "install", *options, cwd=_CACHE)
        if status and any(reason in errors for reason in _NO_NETWORK):
            installed.unlink()
            pytest.skip("AUDITS NOT RUN: npm cannot reach its registry")
        assert status == 0, errors
    shutil.copy(_SOURCE / "audit.mjs", _CACHE / f"audit-{os.getpid()}.mjs")
    return _CACHE / f"audit-{os.getpid()}.mjs"


async def test_every_audit_passes() -> None:
    script = await _install()
    try:
        async with serve(make_endpoint()) as address:
            command = ("node", script.name, f"http://{address}")
            status, output, errors = await _run(*command, cwd=_CACHE)
    finally:
        script.unlink()
    assert status == 0, errors
    results: list[dict[str, Any]] = json.loads(output)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == _AUDITS
