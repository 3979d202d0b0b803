"""The file ``HALT`` in the data folder: whoever can put it there stops every entry.

It needs no store, no network and no gateway that listens: before each entry its place is
looked at, which costs one ``stat``.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcp_gateway.domain.text import one_line
from mcp_gateway.orders.book.actor import LONGEST_REASON

NAME: Final = "HALT"
UNTOLD: Final = "The file HALT is in the data folder and says no reason."
UNREADABLE: Final = "The file HALT is in the data folder and can't be read."
HIDDEN: Final = "Whether the file HALT is in the data folder can't be told."
_BYTES_READ: Final = 4 * LONGEST_REASON
Identity = tuple[int, int, int]  # another file, or the same one written anew, is another halt
_NOWHERE: Final[Identity] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class HaltFile:
    """The file's place.

    Args:
        folder: the data folder; None for a gateway without one, which no file can halt.
    """

    folder: Path | None

    @property
    def path(self) -> Path | None:
        """Where it lies, if it is there."""
        return None if self.folder is None else self.folder / NAME

    def seen(self) -> Identity | None:
        """Return which file is there; None: there is none.

        A folder that can't be looked into halts too: nobody knows that there is no file.
        """
        if self.path is None:
            return None
        try:
            told = os.lstat(self.path)  # a link to nowhere counts
        except FileNotFoundError:
            return None
        except OSError:
            return _NOWHERE
        return told.st_dev, told.st_ino, told.st_mtime_ns

    def reason(self) -> str:
        """Return what is written in it, made harmless: printable, on one line, not too long."""
        if self.path is None or self.seen() == _NOWHERE:
            return HIDDEN
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)  # it may be a pipe
            with os.fdopen(descriptor, "rb") as stream:
                text = (stream.read(_BYTES_READ) or b"").decode(errors="replace")
        except OSError:
            return UNREADABLE
        return one_line(text, LONGEST_REASON) or UNTOLD

    def write(self, reason: str) -> Identity:
        """Put the file there, unless it is there already; return which one is there.

        Raises:
            OSError: the folder can't be written.
        """
        if self.path is None:
            raise FileNotFoundError("no data folder")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return self.seen() or _NOWHERE
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(f"{reason}\n")
            stream.flush()
            os.fsync(stream.fileno())
        return self.seen() or _NOWHERE

    def remove(self, known: Identity) -> bool:
        """Remove the file if it is still the one that is known; tell whether none is left.

        A file that somebody wrote meanwhile is a halt of its own and stays.
        """
        if self.path is not None and self.seen() == known:
            try:
                self.path.unlink()
            except OSError:
                return False
        return self.seen() is None
