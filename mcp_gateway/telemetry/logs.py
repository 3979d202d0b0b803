"""Structured logs to stderr with the predecessor's keys: timestamp, level, name, message."""

import logging
import sys
from typing import Any, Literal

import structlog

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_NOISY = {
    "alembic": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "mcp": logging.WARNING,
    "stamina": logging.ERROR,
    "uvicorn.access": logging.WARNING,
}


def configure(level: Level, form: Literal["json", "console"]) -> None:
    """Send every log line, ours and the libraries', to stderr in one form.

    Call it before the MCP SDK is set up: it configures the root logger itself otherwise.
    Standard output stays free, for on stdio it carries JSON-RPC and nothing else.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _upper_level,
        structlog.processors.EventRenamer("message"),
        _predecessor_name,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(event_key="message", colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if form == "json" else []),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # A line per upstream request or repetition says nothing that the metrics do not.
    for noisy, least in _NOISY.items():
        logging.getLogger(noisy).setLevel(max(least, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; pass ``__name__``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _upper_level(_logger: Any, _method: str, event: Any) -> Any:
    event["level"] = str(event.get("level", "info")).upper()
    return event


def _predecessor_name(_logger: Any, _method: str, event: Any) -> Any:
    if "logger" in event:
        event["name"] = event.pop("logger")
    return event
