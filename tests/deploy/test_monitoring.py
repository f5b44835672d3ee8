"""Rules, dashboard and their configuration: by their own programs, and by what the mall exposes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from services.monitoring.figures import Figures
from services.monitoring.metrics import Metrics
from services.monitoring.shared_figures import figure_families
from tests.deploy.shipped import DEPLOY, ROOT, anchors, assignments, services

_PROMETHEUS = DEPLOY / "prometheus"
_RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((_PROMETHEUS / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
_TRIALS = sorted((_PROMETHEUS / "tests").glob("*_test.yml"))
_ALERTS = [rule for rule in _RULES if "alert" in rule]
_OF_PROMETHEUS = {"up", "ALERTS"}
_PARTS = ("lhs", "rhs", "expr", "param", "vector_selector")
_WINDOW = "$__rate_interval"  # what Grafana fills in


def _exposed() -> set[str]:
    """The names of all series that a process may have."""
    known: Any = {field.name: 1 for field in fields(Figures)}
    families = [*Metrics().registry.collect(), *figure_families(Figures(**known)).collect()]
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {one.name + suffix for one in families for suffix in suffixes.get(one.type, [""])}


def _shown() -> Iterator[str]:
    """Every query of the dashboard."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "mall.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace(_WINDOW, "5m")
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["expr"]


def _named(expression: Any) -> set[str]:
    """The metrics that a parsed query asks for."""
    if isinstance(expression, promql_parser.VectorSelector):
        return {expression.name}
    parts = [getattr(expression, part, None) for part in _PARTS] + getattr(expression, "args", [])
    return {name for part in parts if part is not None for name in _named(part)}


@pytest.mark.parametrize("expression", [rule["expr"] for rule in _RULES] + sorted(set(_shown())))
def test_what_is_asked_for_exists(expression: str) -> None:
    """Else a rule never fires, and a panel stays empty, without a word."""
    recorded = {rule["record"] for rule in _RULES if "record" in rule}
    named = _named(promql_parser.parse(expression))
    assert named
    assert named <= _exposed() | recorded | _OF_PROMETHEUS


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    """How bad it is, what it is, and a chapter that exists."""
    assert alert["labels"]["severity"] in {"critical", "high", "medium", "low"}
    assert alert["annotations"]["summary"]
    file, _, chapter = alert["annotations"]["runbook"].partition("#")
    assert chapter in anchors(ROOT / file)


def test_every_alert_is_tried() -> None:
    """By promtool, in deploy/prometheus/tests: that it fires, and not for a mall that is well."""
    tried = "".join(file.read_text() for file in _TRIALS)
    assert all(rule["alert"] in tried for rule in _ALERTS)


def test_what_is_inhibited_exists() -> None:
    """A name that is mistyped would inhibit nothing."""
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    known = {rule["alert"] for rule in _ALERTS}
    for name in re.findall(r"Mall\w+(?:\.\*)?", text):
        assert any(re.fullmatch(name, alert) for alert in known), name


def test_who_is_scraped_is_there() -> None:
    """Services of compose.yaml, on the ports that they are told to listen on."""
    scraped = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    targets = {
        target
        for job in scraped
        for one in job.get("static_configs", ())
        for target in one["targets"]
    }
    targets |= {
        f"{name}:{one['port']}"
        for job in scraped
        for one in job.get("dns_sd_configs", ())
        for name in one["names"]
    }
    aside = {
        f"{name}:{services()[name]['environment']['MALL_METRICS_PORT']}"
        for name in ("worker", "scheduler")
    }
    assert targets == {"web-1:8000", "web-2:8000"} | aside
    assert "METRICS_TOKEN" in assignments(".env.example")


def _run(program: str, *arguments: str | Path) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration() -> None:
    """By its own word; the file with the token is made when it starts."""
    _run("promtool", "check", "config", "--syntax-only", _PROMETHEUS / "prometheus.yml")


def test_the_rules_do_what_they_say() -> None:
    """On series that are well, and on such that are not."""
    _run("promtool", "test", "rules", *_TRIALS)


def test_alertmanager_takes_its_configuration(tmp_path: Path) -> None:
    """By its own word. Debian's (0.25) does not know addresses in files yet, so it gets one."""
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    file = tmp_path / "alertmanager.yml"
    file.write_text(re.sub(r"url_file: \S+", "url: http://localhost/", text))
    _run("amtool", "check-config", file)
