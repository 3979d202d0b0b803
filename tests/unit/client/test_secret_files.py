"""Files with a secret: private, or not read at all."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from mcp_gateway.client import secret_files
from mcp_gateway.client.secret_files import SecretFileRefused, read_secret

pytestmark = pytest.mark.unit

CANARY = "canary-secret"


def written(folder: Path, raw: bytes, mode: int = 0o600) -> Path:
    """Return a file of this content and mode."""
    path = folder / "secret"
    path.write_bytes(raw)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("raw", [b"canary-secret", b"canary-secret\n", b"canary-secret\r\n"])
def test_a_private_file_is_read_without_the_line_s_end(tmp_path: Path, raw: bytes) -> None:
    """Editors put one there."""
    assert read_secret(written(tmp_path, raw, 0o400)) == CANARY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_could_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The refusal says how to mend it, and not what is in it."""
    with pytest.raises(SecretFileRefused) as failed:
        read_secret(written(tmp_path, CANARY.encode(), mode))
    assert failed.value.code == "secret_file_refused"
    assert "chmod 600" in failed.value.hint
    assert CANARY not in str(failed.value)


@pytest.mark.parametrize("raw", [b"", b"\n", b"  \n", b"\xff\xfe", b"x" * 20_000])
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, raw: bytes) -> None:
    """Empty, no text, or far too much of it."""
    with pytest.raises(SecretFileRefused):
        read_secret(written(tmp_path, raw))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Nothing there, or a folder; neither ends in a library's own words."""
    with pytest.raises(SecretFileRefused):
        read_secret(tmp_path / "nothing")
    with pytest.raises(SecretFileRefused):
        read_secret(tmp_path)


@pytest.mark.parametrize(
    ("owner", "taken"),
    [(os.geteuid(), True), (0, True), (12345, False)],
    ids=["own", "root", "another"],
)
def test_a_file_of_somebody_else_is_refused(tmp_path: Path, owner: int, taken: bool) -> None:
    """Who owns it may change it; root's files are root's to give."""
    path = written(tmp_path, CANARY.encode())
    told = list(path.stat())
    told[4] = owner
    with nullcontext() if taken else pytest.raises(SecretFileRefused):
        secret_files._must_be_private(path, os.stat_result(told))
