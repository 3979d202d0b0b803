"""Signing keys made for tests, and the file that keeps them."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mcp_gateway.access.keyring import Algorithm
from mcp_gateway.access.keys import file, making
from mcp_gateway.access.keys.making import Made
from mcp_gateway.access.keys.records import KeyRecord, KeySet
from tests.support.clock import START
from tests.support.tokens import ISSUER

SUBJECT = "signal-agent"


def made(
    algorithm: Algorithm = "hmac-sha256", subject: str = SUBJECT, at: datetime = START, **more: Any
) -> Made:
    """Return a new key, and what its owner is handed."""
    return making.make(ISSUER, subject, algorithm, at, **more)


def record(subject: str = SUBJECT, at: datetime = START, **changes: Any) -> KeyRecord:
    """Return a new HMAC key's record, with some fields changed."""
    return made(subject=subject, at=at).record.model_copy(update=changes)


def written(path: Path, *records: KeyRecord) -> Path:
    """Write a keys file of these records, as the command would, and return its path."""
    file.change(path, lambda _found: KeySet(records), lambda: None)
    return path


def days(count: float) -> timedelta:
    """Return a span of so many days."""
    return timedelta(days=count)
