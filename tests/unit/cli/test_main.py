"""The command line as a whole: help, exit codes, and how a failure is told."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from mcp_gateway import __version__
from mcp_gateway.cli import main
from mcp_gateway.cli.control.reach import ROWS
from mcp_gateway.errors import BotUnavailable, ConfigurationError
from mcp_gateway.orders.records import MOST_ROWS
from tests.support.commands import command

pytestmark = pytest.mark.unit
COMMANDS = tuple(main._COMMANDS)


def every_command() -> list[tuple[str, ...]]:
    """Return the words of every command and subcommand."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        one = main.cli.get_command(click.Context(main.cli), name)
        assert one is not None
        found.append((name,))
        found += [(name, sub) for sub in getattr(one, "commands", {})]
    return found


def test_help_lists_every_command_and_imports_none(tmp_path: Path) -> None:
    """Quick, and right even where a command's own imports would fail."""
    told = command(tmp_path, "--help")
    assert told.code == 0
    assert all(f"  {name} " in told.out for name in COMMANDS)
    code = "import sys; from mcp_gateway.cli.main import run; run(['--help']); print([m for m in ('mcp', 'pydantic_settings', 'sqlalchemy') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...], tmp_path: Path) -> None:
    """A person's first question, and a line to paste."""
    told = command(tmp_path, *words, "--help")
    assert told.code == 0
    assert told.out.startswith(f"Usage: mcp-gateway {' '.join(words)}")
    example = " ".join(told.out.partition("Example:")[2].split())
    assert f"mcp-gateway {' '.join(words)}" in example


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    """--version."""
    assert __version__ in command(tmp_path, "--version").out


@pytest.mark.parametrize(
    "words", [("sell",), ("orders", "steal"), ("--nonsense",), ("db", "check", "extra")]
)
def test_misuse_ends_with_2(words: tuple[str, ...], tmp_path: Path) -> None:
    """The reason on standard error, nothing on standard output."""
    told = command(tmp_path, *words)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("Usage: mcp-gateway")


@pytest.mark.parametrize("verb", [("orders", "list"), ("audit", "tail")], ids=" ".join)
@pytest.mark.parametrize("limit", ["0", "-1", "1001", "9" * 30, "9" * 5000, "many"])
def test_a_limit_out_of_bounds_ends_with_2(
    verb: tuple[str, ...], limit: str, tmp_path: Path
) -> None:
    """In a sentence: such a number goes through no socket and into no database."""
    told = command(tmp_path, *verb, "--limit", limit)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("Usage: mcp-gateway")
    assert "--limit" in told.err
    assert ROWS.max == MOST_ROWS
    allowed = command(tmp_path, *verb, "--limit", str(MOST_ROWS))
    assert allowed.err.startswith("store_missing: ")  # the words passed; there is no store here


@pytest.mark.parametrize(
    "words",
    [
        ("orders", "show"), ("orders", "list", "--agent"), ("orders", "list", "--state"),
        ("orders", "settle"), ("audit", "tail", "--subject"), ("token", "--subject"), ("call",), (),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_argument_that_is_not_utf8_ends_with_2(words: tuple[str, ...], tmp_path: Path) -> None:
    """In a sentence: Python hands it on as something that nothing can write down."""
    ran = subprocess.run(
        [sys.executable, "-m", "mcp_gateway", *words, b"\xff\xfe"],
        env={"MCP_GATEWAY_DATA_DIR": str(tmp_path), "PATH": ""},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"Argument {len(words) + 1} is not UTF-8." in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("serve",), ("stdio",), ("orders", "list"), ("audit", "tail"), ("db", "check"),
        ("db", "upgrade"), ("call",), ("token", "--subject", "a"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_configuration_ends_with_2_and_every_fault(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Before anything starts; no traceback, no value."""
    told = command(tmp_path, *words, REDIS_PORT="canary", MCP_GATEWAY_NO_SUCH="canary")
    assert (told.code, told.out) == (2, "")
    assert "REDIS_PORT:" in told.err
    assert "MCP_GATEWAY_NO_SUCH:" in told.err
    assert "canary" not in told.err
    assert "Traceback" not in told.err


def test_a_failure_is_a_code_a_sentence_and_a_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1; a failure in a task group is dug out of its groups; a child's log is shown."""
    error = BotUnavailable(
        "Away.", code="bot_died", hint="Look.", detail={"log_tail": ["last word"]}
    )

    @click.command()
    def failing() -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [error])])

    monkeypatch.setattr(main, "cli", failing)
    assert main.run([]) == main.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "  | last word\nbot_died: Away.\n  Look.\n"


def test_faults_in_a_group_are_a_configuration_still(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 wherever they were found."""

    @click.command()
    def failing() -> None:
        raise ExceptionGroup("outer", [ConfigurationError(["A: one", "B: two"])])

    monkeypatch.setattr(main, "cli", failing)
    assert main.run([]) == main.MISUSED
    assert capsys.readouterr().err == "The configuration has faults:\n  A: one\n  B: two\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody anticipated is not dressed up as a failure."""

    @click.command()
    def failing() -> None:
        raise ExceptionGroup("outer", [KeyError("bug")])

    monkeypatch.setattr(main, "cli", failing)
    with pytest.raises(KeyError):
        main.run([])


@pytest.mark.parametrize("raised", [KeyboardInterrupt, click.exceptions.Abort])
def test_an_interrupt_is_no_traceback(
    raised: type[BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C ends with 1 and a word."""

    @click.command()
    def failing() -> None:
        raise raised

    monkeypatch.setattr(main, "cli", failing)
    assert main.run([]) == main.FAILED
    assert "Interrupted." in capsys.readouterr().err
