"""Packages of npm, for the tests that run where node is."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

_CACHE = Path(__file__).parents[1] / ".data" / "node"
_NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


async def run(*command: str, cwd: Path) -> tuple[int, str, str]:
    """Run a command to its end; its status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


@asynccontextmanager
async def installed(source: Path, script: str) -> AsyncIterator[Path]:
    """The script of that directory beside its packages, which npm fetches once for this checkout.

    Skips the test where there is no node, or no way to npm's registry.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip(f"{source.name} NOT RUN: node and npm are not on this machine")
    directory = _CACHE / source.name
    directory.mkdir(parents=True, exist_ok=True)
    await _install(npm, source, directory)
    copy = directory / f"{os.getpid()}-{script}"
    shutil.copy(source / script, copy)
    try:
        yield copy
    finally:
        copy.unlink()


async def _install(npm: str, source: Path, directory: Path) -> None:
    manifest = (source / "package.json").read_text()
    recorded = directory / "package.json"
    packages = (directory / "node_modules" / name for name in json.loads(manifest)["dependencies"])
    if all(map(Path.is_dir, packages)) and recorded.exists() and recorded.read_text() == manifest:
        return
    recorded.write_text(manifest)
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--legacy-peer-deps")
    status, _, errors = await run(npm, "install", *options, cwd=directory)
    if status and any(reason in errors for reason in _NO_NETWORK):
        recorded.unlink()
        pytest.skip(f"{source.name} NOT RUN: npm cannot reach its registry")
    assert status == 0, errors
