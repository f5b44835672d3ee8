"""Advisory locks of PostgreSQL: each key is one lock's, whoever takes it."""

import re
from collections import defaultdict
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_STREETS = ("models", "services", "jobs", "commands", "dev", "alembic")
_KEY = re.compile(r"^_?[A-Z_]*(?:KEY|LOCK)\s*=\s*(0x[0-9A-Fa-f]+)", re.MULTILINE)


def test_no_two_locks_have_one_key() -> None:
    """Else whoever holds the one keeps others from the other: as the scheduler did migrations."""
    places: defaultdict[int, list[str]] = defaultdict(list)
    for street in _STREETS:
        for path in (_ROOT / street).rglob("*.py"):
            for key in _KEY.findall(path.read_text()):
                places[int(key, 16)].append(str(path.relative_to(_ROOT)))
    assert len(places) >= 6, "the pattern finds the keys no more"
    assert [found for found in places.values() if len(found) > 1] == []
