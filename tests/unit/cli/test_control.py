"""What commands ask of a gateway: one table, the ways to an answer, and what that costs."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_gateway.cli.control.reach import ask, ask_store
from mcp_gateway.cli.control.verbs import VERBS, Row, control_verbs
from mcp_gateway.errors import GatewayError
from tests.house.repository import PACKAGE
from tests.support.gateway import settings_for

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("row", VERBS.values(), ids=VERBS)
def test_each_verb_of_the_table_is_there(row: Row) -> None:
    """The table names functions: one that was renamed must not be missed by an operator first."""
    names = list(inspect.signature(row.work).parameters)
    assert inspect.iscoroutinefunction(row.work)
    assert [name.lstrip("_") for name in names[1:]] == ["args", "operator"]
    assert row.work.__module__ == row.part.module


def test_a_running_gateway_answers_every_verb_and_a_command_asks_each() -> None:
    """A verb that no command asks is dead, and one that no gateway answers is a fault."""
    assert set(control_verbs()) == set(VERBS)
    files = (path for path in (PACKAGE / "cli").rglob("*.py") if path.parent.name != "control")
    commands = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [verb for verb in VERBS if f'"{verb}"' not in commands] == []


def test_a_desktop_app_s_tool_list_does_not_wait_for_the_sql_libraries() -> None:
    """`mcp-gateway stdio` keeps a control socket from its start; the store opens behind it."""
    code = "import sys; from mcp_gateway.cli.control.verbs import control_verbs; import mcp_gateway.transports.stdio; control_verbs(); print([m for m in ('sqlalchemy', 'alembic') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_halting_does_not_wait_for_the_sql_libraries() -> None:
    """A gateway that has just started halts before its store is open."""
    code = "import sys; from mcp_gateway.cli.control.verbs import VERBS; VERBS['halt.set'].work; import mcp_gateway.gateway; print('sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


@pytest.mark.parametrize("verb", [verb for verb, row in VERBS.items() if not row.before_store])
def test_a_wrong_folder_is_told_and_left_empty(verb: str, tmp_path: Path) -> None:
    """No empty store is made to tell that there is nothing in it."""
    with pytest.raises(GatewayError) as refused:
        ask(settings_for(tmp_path), verb, {})
    stored = VERBS[verb].part.stored is not None
    assert refused.value.code == ("store_missing" if stored else "gateway_not_running")
    assert list(tmp_path.iterdir()) == []


def test_what_needs_a_running_gateway_is_not_tried_on_the_store(tmp_path: Path) -> None:
    """That would be a fault of ours, and is told as one."""
    (tmp_path / "gateway.sqlite").touch()
    with pytest.raises(ValueError, match="needs a running gateway"):
        ask_store(settings_for(tmp_path), "policy.show", {})
