"""Whether others could put another file in the place of one that decides who may do what."""

import os
import stat
from pathlib import Path
from typing import Final

OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def open_to_others(folder: os.stat_result) -> bool:
    """Tell whether others than its owner may replace the files of a folder, by its mode."""
    return bool(folder.st_mode & OTHERS_WRITE) and not folder.st_mode & stat.S_ISVTX


def folder_faults(path: Path) -> list[str]:
    """Return why others could replace a file: by its folder, or by the one that a link leads to.

    A folder on a mount that is read-only is nobody's to write, whatever its mode; so a cluster
    mounts its configuration.

    Raises:
        OSError: there is no such file.
    """
    folders = {path.absolute().parent, path.resolve(strict=True).parent}
    return [
        f"{path.name}: its folder {folder} can be written by others; chmod go-w"
        for folder in sorted(folders)
        if open_to_others(folder.stat()) and not os.statvfs(folder).f_flag & os.ST_RDONLY
    ]
