"""Where a child's words go: into a file, to its starter, or past it."""

import sys
from pathlib import Path

import anyio
import pytest

from mcp_gateway.sandbox.children import start_child

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SPEAKS = "import sys; print('out', flush=True); print('err', file=sys.stderr)"


async def said(folder: Path, *, logs: bool, talks: bool) -> list[str]:
    """Let a child speak on both channels and end; return what its starter was told."""
    told = []
    child = await start_child(
        [sys.executable, "-c", SPEAKS],
        folder=folder,
        environment=None,
        log=folder / "child.log" if logs else None,
        talks=talks,
    )
    try:
        with anyio.fail_after(10):
            while (line := await child.line()) is not None:
                told.append(line)
            assert await child.wait() == 0
    finally:
        await child.stop()
    return told


async def test_a_child_without_a_log_speaks_on_our_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both of its channels: our stdout is the command's answer, or a desktop app's wire."""
    assert await said(tmp_path, logs=False, talks=False) == []
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(err.splitlines()) == ["err", "out"]


async def test_a_child_that_talks_without_a_log_tells_all(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An installer's errors are in what it says."""
    assert await said(tmp_path, logs=False, talks=True) == ["out", "err"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("talks", [False, True])
async def test_a_child_with_a_log_leaves_ours_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], talks: bool
) -> None:
    """What it does not tell its starter stands in the file."""
    assert await said(tmp_path, logs=True, talks=talks) == (["out"] if talks else [])
    logged = (tmp_path / "child.log").read_text("utf-8").splitlines()
    assert sorted(logged) == (["err"] if talks else ["err", "out"])
    assert capfd.readouterr() == ("", "")
