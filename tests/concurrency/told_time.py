"""A server process whose clock is a file: `python -m tests.concurrency.told_time FILE`.

Everything else is as it is served in production. Several processes that read one file have one
clock, which a test moves for all of them at once.
"""

import sys
from datetime import datetime
from pathlib import Path

import uvicorn

from app import create_app
from services.monitoring.logs import configure_logging
from settings import load_settings


class FileClock:
    """Tells the instant that stands in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> datetime:
        """The present, as last told."""
        return datetime.fromisoformat(self.path.read_text())

    def tell(self, now: datetime) -> None:
        """Move to `now`, for whoever reads the file; nobody ever reads half of it."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(now.isoformat())
        fresh.replace(self.path)


def main() -> None:
    """Serve until told to stop."""
    settings = load_settings()
    configure_logging(settings)
    server = settings.server
    app = create_app(settings, FileClock(Path(sys.argv[1])))
    uvicorn.run(
        app, host=server.host, port=server.port, access_log=False, log_level=server.log_level
    )


if __name__ == "__main__":
    main()
