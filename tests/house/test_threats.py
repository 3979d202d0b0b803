"""docs/threats.md: each threat has an attack that exists, and each public list is answered."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
MCP_TOP_TEN = {f"MCP{number:02}" for number in range(1, 11)}
AGENTIC_TOP_TEN = {f"ASI{number:02}" for number in range(1, 11)}
SPEC = {
    "confused deputy", "token passthrough", "session hijacking", "SSRF",
    "local server compromise", "scope minimization",
}  # fmt: skip
FEWEST_ATTACKS = 80


def rows() -> list[list[str]]:
    """Return the cells of the table, without its head."""
    lines = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8").splitlines()
    table = [line.strip("|").split(" | ") for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in table[1:] if not row[0].startswith(" ---")]


def names_in(path: Path) -> set[str]:
    """Return the names of the test functions of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row[0])[:50])
def test_a_threat_names_an_attack_that_there_is(row: list[str]) -> None:
    """The file, and the very test in it."""
    _threat, _answer, lists, attack = row
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::(\w+)`", attack)
    assert lists
    assert named is not None
    path = ROOT / named[1]
    assert path.is_file()
    assert named[2] in names_in(path)


def test_every_entry_of_the_public_lists_is_answered() -> None:
    """No entry of them is left out, and none is made up."""
    told = {one.strip() for row in rows() for one in row[2].replace("spec:", "").split(",")}
    assert told == MCP_TOP_TEN | AGENTIC_TOP_TEN | SPEC


def test_there_are_many_attacks() -> None:
    """Each another idea: what differs by its data alone is one."""
    attacks = [
        one for path in (ROOT / "tests" / "attacks").glob("test_*.py") for one in names_in(path)
    ]
    assert len(attacks) >= FEWEST_ATTACKS
