"""Files that hold one secret: read only where nobody else can."""

import os
import stat
from pathlib import Path
from typing import Final

from mcp_gateway.errors import GatewayError

LARGEST_BYTES: Final = 16_384  # a token may have 8 KiB
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
ROOT: Final = 0


class SecretFileRefused(GatewayError):
    """A file that is to hold a secret can't be read, or others could read it too."""

    default_code = "secret_file_refused"
    default_hint = "Let it be a file of your own with mode 0600: chmod 600 FILE."


def read_secret(path: Path) -> str:
    """Return the text of a secret's file, without the line's end.

    Raises:
        SecretFileRefused: it is not there, others may read or change it, it belongs to
            somebody else, or it holds no text.
    """
    try:
        with path.open("rb") as opened:
            told = os.fstat(opened.fileno())  # of what was opened, not of what lies there now
            _must_be_private(path, told)
            raw = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise SecretFileRefused(f"{path} can't be read: {error.strerror}.") from None
    return _text(path, raw)


def _must_be_private(path: Path, told: os.stat_result) -> None:
    if not stat.S_ISREG(told.st_mode):
        raise SecretFileRefused(f"{path} is no file.")
    if told.st_mode & OTHERS:
        raise SecretFileRefused(f"{path} can be read or written by others.")
    if told.st_uid not in {os.geteuid(), ROOT}:
        raise SecretFileRefused(f"{path} belongs to somebody else.")


def _text(path: Path, raw: bytes) -> str:
    if len(raw) > LARGEST_BYTES:
        raise SecretFileRefused(f"{path} is too large for a secret.")
    try:
        text = raw.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise SecretFileRefused(f"{path} holds no text.") from None
    if not text.strip():
        raise SecretFileRefused(f"{path} is empty.")
    return text
