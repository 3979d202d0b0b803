"""A signal to a gateway that is still starting: nobody who halts is unheard, and nobody dies of it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import environment, running

pytestmark = pytest.mark.integration

START_S = 30.0
_BIT = 1 << (signal.SIGUSR1 - 1)


def catches(pid: int) -> bool:
    """Tell whether a process has a handler of its own for SIGUSR1."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & _BIT)


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("stdio",)], ids=["serve", "stdio"])
def test_a_signal_amid_the_start_halts_the_gateway_that_starts(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """It is remembered from the command's first line on; the file is there before it listens."""
    env = environment(tmp_path)
    data = tmp_path / "data"
    with running(*command, folder=tmp_path, env=env) as gateway:
        ends = time.monotonic() + START_S
        while not catches(gateway.process.pid):
            assert time.monotonic() < ends
            time.sleep(0.002)
        assert not (data / "control.sock").exists()  # it is far from listening
        gateway.process.send_signal(signal.SIGUSR1)
        while not (data / "HALT").exists():
            assert gateway.process.poll() in {None, 0}
            assert time.monotonic() < ends
            time.sleep(0.01)
    assert "SIGUSR1" in (data / "HALT").read_text()


def test_a_child_of_a_gateway_inherits_no_blocked_signal(tmp_path: Path) -> None:
    """A mask would be; what a started program knows of the signal is what the system does with it."""
    code = (
        "import signal, subprocess, sys\n"
        "from mcp_gateway.transports.early import hold, taken\n"
        "hold(signal.SIGUSR1)\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
        "assert taken(signal.SIGUSR1) and not taken(signal.SIGUSR1)\n"
        "told = 'import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []),"
        " signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)'\n"
        "print(subprocess.run([sys.executable, '-c', told], capture_output=True, text=True).stdout)"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["set()", "True"], done.stderr
