"""The doubles as a process of their own, as fault tests and benchmarks use them."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from services.notifications.open import open_providers
from services.notifications.providers import DeviceGone, Sent
from settings import NotificationSettings
from tests.architecture.source import ROOT
from tests.services.notifications.providers.messages import message_to


async def test_they_print_the_way_to_them_and_record_what_they_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file, a line per push; and end when they are told to."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"fcm": {"gone": ["unregistered"]}}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.doubles", str(tmp_path), "--script", str(script)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    for name, value in json.loads(await process.stdout.readline()).items():
        monkeypatch.setenv(name, value)
    async with open_providers(NotificationSettings()) as providers:
        web = await providers["web"].send([message_to("browser"), message_to("gone")])
        ios = await providers["ios"].send([message_to("ab" * 32)])
    assert [type(outcome) for outcome in web + ios] == [Sent, DeviceGone, Sent]
    process.terminate()
    assert await process.wait() == 0
    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert {(one["provider"], one["token"]) for one in seen} == {
        ("fcm", "browser"),
        ("fcm", "gone"),
        ("apns", "ab" * 32),
    }
