"""Why the sandbox could not be opened, or ended."""

from collections.abc import Sequence
from pathlib import Path

from mcp_gateway.errors import GatewayError

TAIL_LINES = 15
TAIL_BYTES = 16_384


class SandboxFailed(GatewayError):
    """The sandbox is not there; ``detail["log_tail"]`` holds the end of the log that says why.

    Codes: not_installed, install_failed, port_busy, folder_busy, exchange_died, bot_died,
    bot_slow.
    """

    status = 503
    default_code = "sandbox_failed"
    default_hint = "Read the lines above, then start the sandbox again."

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The end of the log, in lines; empty where there is none."""
        return tuple(self.detail.get("log_tail", ()))


def port_busy(port: int) -> SandboxFailed:
    """Return the failure that names a port held by something else."""
    return SandboxFailed(
        f"Port {port} of 127.0.0.1 is taken by another program.",
        code="port_busy",
        hint="Stop that program (another sandbox?), or name a port: 0 takes any free one "
        "(`mcp-gateway sandbox --port 0`, `make sandbox PORT=0`).",
        detail={"port": port},
    )


def tail(log: Path) -> list[str]:
    """Return the last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return last_lines(file.read().decode(errors="replace").splitlines())


def last_lines(lines: Sequence[str]) -> list[str]:
    """Return the last lines that say something."""
    return [line.rstrip() for line in lines if line.strip()][-TAIL_LINES:]
