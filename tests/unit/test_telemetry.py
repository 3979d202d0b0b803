"""Logs and metrics: the predecessor's keys, on standard error, each line whole."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from mcp_gateway.telemetry import logs, metrics
from tests.support.heard import logging_as_it_was

pytestmark = pytest.mark.unit
PREDECESSOR = {"timestamp", "level", "name", "message"}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test configures ends with it."""
    with logging_as_it_was():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was logged; standard output must have stayed empty."""
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_is_one_json_object_with_the_predecessors_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Existing dashboards read timestamp, level, name and message."""
    logs.configure("INFO", "json")
    logs.get("mcp_gateway.somewhere").warning("A thing\nhappened", order_id="x", ratio=0.5)
    [line] = lines(capsys)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert at.tzinfo is not None
    assert line == {
        "level": "WARNING", "name": "mcp_gateway.somewhere", "message": "A thing\nhappened",
        "order_id": "x", "ratio": 0.5,
    }  # fmt: skip


def test_other_libraries_lines_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard logging goes through the same handler."""
    logs.configure("INFO", "json")
    logging.getLogger("some.library").error("It failed: %s", "why")
    [line] = lines(capsys)
    assert line.keys() >= PREDECESSOR
    assert (line["level"], line["name"], line["message"]) == (
        "ERROR", "some.library", "It failed: why",
    )  # fmt: skip


def test_a_traceback_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A collector splits at line ends."""
    logs.configure("INFO", "json")
    try:
        raise ValueError("canary")
    except ValueError:
        logs.get("x").exception("It failed")
    [line] = lines(capsys)
    assert "ValueError: canary" in line["exception"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_is_below_the_level_is_not_written(
    form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """LOG_LEVEL, for our lines and for others'."""
    logs.configure("ERROR", form)
    logs.get("x").warning("quiet")
    logging.getLogger("y").warning("quiet")
    logs.get("x").error("loud")
    out, err = capsys.readouterr()
    assert out == ""
    assert "quiet" not in err
    assert err.count("loud") == 1


def test_the_console_form_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One readable line, still on standard error."""
    logs.configure("INFO", "console")
    logs.get("x").info("A thing happened", pair="BTC/USDT")
    out, err = capsys.readouterr()
    assert out == ""
    assert "A thing happened" in err
    assert "pair=BTC/USDT" in err


def test_a_line_for_every_upstream_request_is_not_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The metrics say as much; warnings of theirs still come."""
    logs.configure("INFO", "json")
    for noisy in ("httpx2", "mcp", "uvicorn.access", "alembic"):
        logging.getLogger(noisy).info("noise")
    logging.getLogger("httpx2").warning("trouble")
    assert [line["message"] for line in lines(capsys)] == ["trouble"]


def test_the_predecessors_metrics_are_told() -> None:
    """By the names and labels that dashboards know."""
    text = metrics.exposition().decode()
    for name in (
        "http_requests_total", "http_request_duration_seconds", "http_requests_in_progress",
    ):  # fmt: skip
        assert f"# HELP {name}" in text
    assert metrics.http_requests_total._labelnames == ("method", "path", "status")
    assert metrics.http_request_duration_seconds._labelnames == ("method", "path")


def test_every_metric_of_ours_says_whose_it_is() -> None:
    """In a shared Prometheus; the predecessor's three apart."""
    for family in metrics.REGISTRY.collect():
        assert family.name.startswith(("mcp_gateway_", "http_request")), family.name
        assert family.documentation.endswith(".")


@pytest.mark.parametrize(("level", "least"), [("DEBUG", logging.ERROR), ("CRITICAL", 50)])
def test_repetitions_of_a_read_are_not_logged_one_by_one(level: logs.Level, least: int) -> None:
    """Two lines a call from a library drown the one that says that the bot is away."""
    logs.configure(level, "json")
    assert logging.getLogger("stamina").level == least
