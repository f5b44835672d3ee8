"""The embedded Valkey: serves, keeps nothing, and leaves nothing."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from redis import Redis

from dev import places, valkey
from dev.processes import RunningChild, await_ready, start, stop
from dev.valkey import valkey_child


def started(data_dir: Path) -> RunningChild:
    running = start(valkey_child(data_dir, places.make_sockets(data_dir)))
    await_ready(running)
    return running


def test_serves_its_url_and_stops(data_dir: Path, living: Callable[[], list[psutil.Process]]):
    assert valkey.running_url(data_dir) is None
    running = started(data_dir)
    url = valkey.running_url(data_dir)
    assert url is not None
    with Redis.from_url(url) as client:
        assert client.set("name", "value")
        settings = client.config_get("*")
    assert settings["port"] == "0"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["appendonly"] == "no"
    assert settings["dir"] == str(data_dir / "valkey")
    stop(running)
    assert valkey.running_url(data_dir) is None
    assert living() == []


def test_comes_back_at_the_same_url_after_being_killed(data_dir: Path):
    running = started(data_dir)
    url = valkey.running_url(data_dir)
    running.process.kill()
    running.process.wait()
    assert valkey.running_url(data_dir) is None
    running = started(data_dir)
    assert valkey.running_url(data_dir) == url
    stop(running)


def test_replaces_an_orphan(data_dir: Path):
    orphan = started(data_dir)
    running = started(data_dir)
    assert orphan.process.wait(timeout=5) == 0
    assert valkey.running_url(data_dir) is not None
    stop(running)


def test_says_what_is_missing(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dev.valkey._WHEEL", "no_such_wheel")
    with pytest.raises(valkey.ValkeyMissingError, match="embedded"):
        started(data_dir)
