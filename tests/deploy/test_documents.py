"""What operators read leads where it says."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from services.points.grant import OWN_SOURCES
from settings import Settings
from tests.concurrency.servers import environment_of
from tests.deploy.shipped import ROOT, anchors

_READ = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("running*.md"))]
_READ += sorted((ROOT / "docs" / "running").glob("*.md"))
_READ += [ROOT / "docs" / "abuse.md", ROOT / "docs" / "clients.md"]


@pytest.mark.parametrize("document", _READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """To files and chapters that exist."""
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        file, _, chapter = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        assert not chapter or chapter in anchors(target), link


_LOGS = """
import structlog
from services.monitoring.logs import configure_logging
from settings import load_settings
configure_logging(load_settings())
structlog.get_logger().error("is looked for")
structlog.get_logger().info("is not", text="error")
"""


async def test_errors_are_found_in_the_log(settings: Settings) -> None:
    """By what is said to be looked for, in lines that the mall wrote."""
    [pattern] = re.findall(
        r"grep\s+'([^']+)'", (ROOT / "docs" / "running" / "troubles.md").read_text()
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOGS), cwd=ROOT, env=environment_of(settings), stderr=PIPE
    )
    _, said = await process.communicate()
    lines = said.decode().splitlines()
    assert len(lines) == 2
    assert [pattern in line for line in lines] == [True, False]


def test_sources_that_nobody_else_may_use_are_told() -> None:
    """All of them: whoever calls in chooses another name before they are refused."""
    text = (ROOT / "docs" / "clients.md").read_text()
    [said] = re.findall(r"The mall itself grants by these names[^.]*\.", text)
    assert re.findall(r"`([a-z_]+)`", said) == sorted(OWN_SOURCES)
