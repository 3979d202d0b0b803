"""Run a server for as long as the parent lives: ``watcher.py FOLDER USER COMMAND …``.

Standard input is a pipe that only the parent holds. When it closes, however the parent
went, the server is ended and FOLDER removed; when a byte comes, the folder stays for the
next start. USER is a number, or ``-`` for whoever runs this.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

PATIENCE_S = 5


def main(folder: str, user: str, command: list[str]) -> int:
    # PostgreSQL refuses root, so it may have to run as somebody else.
    other: dict[str, Any] = {} if user == "-" else {"user": int(user), "group": int(user)}
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **other)
    while server.poll() is None and not select.select([0], [], [], 0.2)[0]:
        pass
    keep = server.poll() is None and os.read(0, 1)
    # PostgreSQL takes SIGINT for a fast shutdown; Valkey ends at once.
    with contextlib.suppress(ProcessLookupError):
        server.send_signal(signal.SIGINT)
    try:
        status = server.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        status = server.wait()
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    # Ctrl-C reaches the whole group; the pipe tells when it is time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
