"""`mcp-gateway audit tail`: what happened, oldest first."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import AuditLog
from mcp_gateway.storage.sql import Store
from tests.support.clock import START
from tests.support.commands import command

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with five rows: three refusals of one caller, two orders of another."""
    events = [
        AuditEvent("call.refused", START, subject="scout", code=f"code_{n}", channel="http")
        for n in range(3)
    ] + [
        AuditEvent("order.received", START, subject="desk", request_id="r-1"),
        AuditEvent("order.denied", START, subject="desk", request_id="r-1", detail={"limit": 5}),
    ]

    async def write() -> None:
        store = Store(f"sqlite:///{tmp_path}/gateway.sqlite", data_dir=tmp_path)
        await store.open()
        await AuditLog(store).write(events)
        await store.close()

    anyio.run(write)
    return tmp_path


def rows(folder: Path, *words: str) -> list[dict[str, Any]]:
    told = command(folder, "audit", "tail", "--json", *words)
    assert (told.code, told.err) == (0, "")
    return [json.loads(line) for line in told.out.splitlines()]


def test_rows_are_lines_of_json_oldest_first(folder: Path) -> None:
    """One object a line, empty fields left out, for a script to read."""
    told = rows(folder)
    assert [row["id"] for row in told] == sorted(row["id"] for row in told)
    assert told[0] | {"id": 0} == {
        "id": 0, "event": "call.refused", "at": "2025-11-18T10:00:00Z", "subject": "scout",
        "code": "code_0", "channel": "http",
    }  # fmt: skip
    assert told[-1]["detail"] == {"limit": 5}


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--limit", "2"), 2),
        (("--event", "call.refused"), 3),
        (("--subject", "desk"), 2),
        (("--request-id", "r-1"), 2),
        (("--subject", "desk", "--event", "order.denied"), 1),
        (("--event", "nothing"), 0),
    ],
)
def test_rows_are_narrowed(words: tuple[str, ...], count: int, folder: Path) -> None:
    """By kind, caller, order and number: the last ones of what fits."""
    assert len(rows(folder, *words)) == count
    assert rows(folder, "--limit", "1")[0]["event"] == "order.denied"


def test_rows_are_readable_for_people(folder: Path) -> None:
    """One line each: number, time, event, caller, code, the rest."""
    told = command(folder, "audit", "tail", "--event", "call.refused", "--limit", "1")
    [line] = told.out.splitlines()
    assert line.split()[1:5] == ["2025-11-18T10:00:00Z", "call.refused", "scout", "code_2"]


def test_nothing_found_is_no_failure(folder: Path) -> None:
    """Such a thing has not happened yet."""
    told = command(folder, "audit", "tail", "--subject", "nobody")
    assert (told.code, told.out, told.err) == (0, "", "")
