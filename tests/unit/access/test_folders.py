"""Folders whose files others could replace."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcp_gateway.access.folders import folder_faults

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.touch(0o600)
    return file


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o775])
def test_a_folder_that_others_can_write_is_told(path: Path, mode: int) -> None:
    """Group or everybody: each may rename another file to this one's name."""
    path.parent.chmod(mode)
    [fault] = folder_faults(path)
    assert fault == f"file: its folder {path.parent} can be written by others; chmod go-w"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
def test_a_folder_where_nobody_else_can_replace_it_is_none(path: Path, mode: int) -> None:
    """A sticky folder keeps each one's files."""
    path.parent.chmod(mode)
    assert folder_faults(path) == []


def test_a_mount_that_is_read_only_is_nobodys_to_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster mounts its configuration so, with a mode that says otherwise."""
    path.parent.chmod(0o777)
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert folder_faults(path) == []


def test_the_folders_of_a_link_and_of_its_file_count_both(path: Path, tmp_path: Path) -> None:
    """Who writes one of them turns the link, who writes the other the file."""
    folder = tmp_path / "of the link"
    folder.mkdir(0o700)
    link = folder / "link"
    link.symlink_to(path)
    assert folder_faults(link) == []
    for each in (folder, path.parent):
        each.chmod(0o777)
        assert len(folder_faults(link)) == 1
        each.chmod(0o700)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The caller says which, with the setting's name."""
    with pytest.raises(FileNotFoundError):
        folder_faults(tmp_path / "none")
