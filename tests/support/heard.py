"""What one module logs, whatever other tests have made of the loggers; and the loggers as they were."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import structlog
from structlog.testing import LogCapture


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Undo what the block configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@contextmanager
def heard(*modules: ModuleType) -> Iterator[list[MutableMapping[str, Any]]]:
    """Collect the lines of these modules while the block lasts."""
    capture = LogCapture()
    level = structlog.make_filtering_bound_logger(logging.NOTSET)
    deaf: Any = structlog.wrap_logger(None, processors=[capture], wrapper_class=level)
    before = {module: module.__dict__["_log"] for module in modules}
    for module in modules:
        module.__dict__["_log"] = deaf
    try:
        yield capture.entries
    finally:
        for module, log in before.items():
            module.__dict__["_log"] = log
