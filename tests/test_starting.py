"""What keeps a web process from starting is said in a line, before anything was started."""

import asyncio
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from app import require_usable
from settings import (
    AlertingSettings,
    GraphQLSettings,
    LimitSettings,
    ServerSettings,
    Settings,
    SettingsError,
)
from tests.concurrency.servers import ROOT, environment_of


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"limits": LimitSettings(rate_limits="exchange=3/7")}, "MALL_RATE_LIMITS"),
        ({"alerting": AlertingSettings(alert_thresholds={"x": 1})}, "MALL_ALERT_THRESHOLDS"),
        ({"graphql": GraphQLSettings(safelist="enforce")}, "MALL_SAFELIST_FILE"),
        (
            {"graphql": GraphQLSettings(safelist="log", safelist_file=Path("/none"))},
            "/none",
        ),
        ({"server": ServerSettings(allowed_origins="app.example.com")}, "MALL_ALLOWED_ORIGINS"),
    ],
)
async def test_settings_that_contradict_are_refused(
    settings: Settings, group: dict[str, object], said: str
) -> None:
    require_usable(settings)
    with pytest.raises(SettingsError, match=said):
        require_usable(replace(settings, **group))


async def test_a_port_that_is_taken_is_said_at_once(settings: Settings) -> None:
    """Before stores are started that nobody would use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = environment_of(settings, taken.getsockname()[1])
        command = [sys.executable, "cli.py", "serve"]
        start = partial(subprocess.run, command, cwd=ROOT, env=environment, capture_output=True)
        done = await asyncio.to_thread(start, timeout=60, check=False)
    assert done.returncode == 2
    assert b"is taken" in done.stderr
    assert len(done.stderr.splitlines()) == 1
