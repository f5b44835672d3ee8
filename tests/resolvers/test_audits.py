"""The conformance audits of the npm package graphql-http."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.node import installed, run
from tests.resolvers.serving import make_endpoint, serve

_AUDITS = 61
_SOURCE = Path(__file__).parent / "graphql_http"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def test_every_audit_passes() -> None:
    async with installed(_SOURCE, "audit.mjs") as script, serve(make_endpoint()) as address:
        command = ("node", script.name, f"http://{address}")
        status, output, errors = await run(*command, cwd=script.parent)
    assert status == 0, errors
    results: list[dict[str, Any]] = json.loads(output)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == _AUDITS
