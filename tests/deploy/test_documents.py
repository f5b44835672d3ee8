"""What operators read leads where it says."""

import re
from pathlib import Path

import pytest

from tests.deploy.shipped import ROOT, anchors

_READ = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("running*.md"))]
_READ += sorted((ROOT / "docs" / "running").glob("*.md"))


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
