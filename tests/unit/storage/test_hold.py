"""The lock of the embedded store."""

import os
from pathlib import Path

import pytest

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.hold import LOCK_NAME, Hold

pytestmark = pytest.mark.unit


def test_the_holder_is_named(tmp_path: Path) -> None:
    """Who is refused learns which process to look at."""
    first, second = Hold(tmp_path), Hold(tmp_path)
    first.take()
    with pytest.raises(StoreUnavailable) as held:
        second.take()
    assert held.value.code == "store_held"
    assert held.value.detail == {"holder": str(os.getpid())}


@pytest.mark.parametrize(
    ("serves", "way"),
    [
        ("http://127.0.0.1:8123", "`mcp-gateway call --url http://127.0.0.1:8123/mcp`"),
        ("stdio", "over stdio only"),
        ("", "try again"),
    ],
)
def test_who_is_refused_is_told_how_to_reach_the_holder(
    serves: str, way: str, tmp_path: Path
) -> None:
    """A line to paste where it serves HTTP; else what to do instead."""
    Hold(tmp_path, serves).take()
    with pytest.raises(StoreUnavailable) as held:
        Hold(tmp_path, "http://127.0.0.1:9").take()
    assert way in held.value.hint
    assert "MCP_GATEWAY_DATA_DIR" in held.value.hint
    assert held.value.detail.get("serves", "") == serves


def test_what_a_killed_holder_left_is_not_taken_for_the_next_one_s(tmp_path: Path) -> None:
    """Its lock went with it; its line stays in the file until it is written over."""
    (tmp_path / LOCK_NAME).write_text("4711 http://127.0.0.1:8123/a/long/way\n")
    hold = Hold(tmp_path, "stdio")
    hold.take()
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()} stdio\n"


def test_a_lock_that_was_dropped_can_be_taken(tmp_path: Path) -> None:
    """The file stays, for a removed one could be locked twice; dropping twice is no error."""
    first, second = Hold(tmp_path), Hold(tmp_path)
    first.take()
    first.drop()
    first.drop()
    second.take()
    second.drop()
    assert (tmp_path / LOCK_NAME).read_text() == ""


def test_being_refused_does_not_take_the_lock_away(tmp_path: Path) -> None:
    """Who is refused leaves no trace: neither the lock nor the holder's name is touched."""
    first = Hold(tmp_path)
    first.take()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            Hold(tmp_path).take()
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A program that the gateway starts must not hold its store after it."""
    hold = Hold(tmp_path)
    hold.take()
    assert hold._descriptor is not None
    assert not os.get_inheritable(hold._descriptor)
    hold.drop()
