"""What only an operator may do has one way in: the command line and its control socket."""

import ast
from typing import cast

import pytest

from mcp_gateway.cli.control.parts import RECORDS
from mcp_gateway.cli.control.verbs import VERBS
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.gateway import Gateway
from mcp_gateway.settings import Settings
from mcp_gateway.transports.mcp.tools import build_tools
from mcp_gateway.transports.rest.routes import rest_routes
from tests.house.repository import PACKAGE, modules

pytestmark = pytest.mark.unit

NOBODY = cast("Gateway", None)  # the tools are described without asking it anything


def importers(module: str) -> set[str]:
    """Return the modules of the package that import another, wherever in their text."""
    room, _, name = module.rpartition(".")
    found = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.ImportFrom) and (
                node.module == module
                or (node.module == room and any(alias.name == name for alias in node.names))
            )
            plain = isinstance(node, ast.Import) and any(a.name == module for a in node.names)
            if named or plain:
                found.add(str(path.relative_to(PACKAGE)))
    return found


def test_no_agent_can_settle_an_order() -> None:
    """An agent that decides its own doubt would free its own pair: no tool, no route, no operation."""
    assert "orders.settle" in VERBS
    faces = [
        *OPERATIONS,
        *(tool.name for tool in build_tools(NOBODY)),
        *(route.path for route in rest_routes(Settings.apart(), None)),
    ]
    assert len(faces) > 20
    words = ("settle", "reconcile", "review")
    assert [face for face in faces if any(word in face for word in words)] == []


def test_the_way_to_a_settlement_is_the_command_lines_alone() -> None:
    """The faces of the agents can't even name it: each step has one caller."""
    assert importers("mcp_gateway.orders.settling.settlement") == {"orders/records.py"}
    # The gateway's own books carry the records, and name none of their verbs.
    of_records = {row.name for row in VERBS.values() if row.part is RECORDS}
    books = (PACKAGE / "orders" / "books.py").read_text(encoding="utf-8")
    assert not any(name in books for name in of_records)
    assert importers("mcp_gateway.orders.records") == {"orders/books.py", "cli/control/parts.py"}
    for module in ("verbs", "parts", "reach", "running"):
        assert all(one.startswith("cli/") for one in importers(f"mcp_gateway.cli.control.{module}"))


def test_no_agent_can_change_the_policy() -> None:
    """Who is bound by a rule must not loosen it: one caller agrees, and no face names the policy."""
    calling = set()
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if "policies.accept(" in text or "keeper.accept(" in text:
            calling.add(str(path.relative_to(PACKAGE)))
    assert calling == {"cli/control/running.py"}
    assert importers("mcp_gateway.cli.control.running") == set()  # but by its row in the table
    faces = [
        *OPERATIONS,
        *(tool.name for tool in build_tools(NOBODY)),
        *(route.path for route in rest_routes(Settings.apart(), None)),
    ]
    assert [face for face in faces if "policy" in face] == []
