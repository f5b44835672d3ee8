"""Structured logs: lines on standard error, JSON in production, readable ones in dev."""

import json
import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.dev import plain_traceback
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

from services.monitoring.log_context import merge_facts
from settings import Settings


class _ToStructlog(logging.Handler):
    """What libraries log, in the same form as what the mall logs."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info, logger=record.name)


def configure_logging(settings: Settings) -> None:
    """Let everything be logged as these settings say.

    Of libraries warnings and errors only, whatever the mall's level: at INFO httpx2 logs the
    addresses it asks, and those of APNs hold the tokens of devices.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()])
    is_dev = settings.mall.profile == "dev"
    level = logging.getLevelNamesMapping()[settings.server.log_level.upper()]
    structlog.configure(
        processors=[
            merge_facts,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_readable() if is_dev else _json()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=(
            structlog.WriteLoggerFactory(file=sys.stderr)
            if is_dev
            else structlog.BytesLoggerFactory(file=sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )


def _readable() -> list[Any]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=plain_traceback
        )
    ]


def _json() -> list[Any]:
    # Locals would put tokens and addresses into the log.
    return [
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        structlog.processors.JSONRenderer(serializer=_serialize),
    ]


def _serialize(line: Any, **_of_json: object) -> bytes:
    """A fifth of what the json module takes: there is a line for every request."""
    try:
        return orjson.dumps(line, default=repr)
    except TypeError:  # an integer or a character that only the json module takes
        return json.dumps(line, default=repr).encode()
