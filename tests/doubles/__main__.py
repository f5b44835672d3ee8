"""The doubles as a process of their own: ``python -m tests.doubles DIRECTORY``.

Prints one line of JSON, the environment that leads to them, and runs until it is terminated. Every
push seen is a line of JSON in ``DIRECTORY/seen.jsonl``. ``--script FILE`` names a JSON object
``{"fcm": {token: [behaviour, ...]}, "apns": {...}}``; other tokens succeed.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from tests.doubles.both import both_doubles


async def run(directory: Path, scripts: dict[str, dict[str, list[str]]]) -> None:
    """Run both doubles until SIGTERM or SIGINT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with both_doubles(directory, record_file=directory / "seen.jsonl") as doubles:
        doubles.fcm.script.by_token = scripts.get("fcm", {})
        doubles.apns.script.by_token = scripts.get("apns", {})
        environment = {f"MALL_{name.upper()}": value for name, value in doubles.values().items()}
        sys.stdout.write(json.dumps(environment) + "\n")
        sys.stdout.flush()
        await told.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.doubles")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--script", type=Path)
    arguments = parser.parse_args()
    asked = json.loads(arguments.script.read_text()) if arguments.script else {}
    asyncio.run(run(arguments.directory, asked))
