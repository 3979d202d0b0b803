"""The house about itself: sizes, names, owners and claims that no other tool checks."""

import ast
import importlib
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from mcp_gateway.domain.operations import OPERATIONS, SCOPES, TOOLS
from mcp_gateway.errors import GatewayError
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.mcp import tools
from tests.house.repository import PACKAGE, ROOT, files, modules

pytestmark = pytest.mark.unit

LONGEST_MODULE = 300
LONGEST_FUNCTION = 60
LONGER_MODULES: dict[str, str] = {}
# Written in two parts, so that this file does not hold what it looks for.
NEEDLES = tuple(
    first + second
    for first, second in (
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("py", "pi.org"),
        ("registry.npm", "js"),
        ("python", "hosted"),
    )
)
BINARY = {".png", ".ico", ".gz", ".whl"}


def of_modules() -> pytest.MarkDecorator:
    """Run a test once for each module of the package."""
    found = [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in modules()]
    return pytest.mark.parametrize("path", found)


def test_the_gate_alone_makes_admissions() -> None:
    """An admission is proof that the gate was asked, so nobody else forges one."""
    naming = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if "admission_by_the_gate" in path.read_text(encoding="utf-8")
    }
    assert naming == {"access/gate.py", "domain/principals.py"}


def test_no_admission_is_made_by_its_constructor() -> None:
    """The way around the function above would be the class itself."""
    calling = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Admission":
                calling.add(str(path.relative_to(PACKAGE)))
    assert calling <= {"domain/principals.py"}


def test_every_tool_stands_in_the_table_of_operations_and_is_served() -> None:
    """One table decides for every face: a tool that it lacks would have no gate."""
    nobody = cast("Gateway", None)  # the tools are described without asking it anything
    assert {tool.name for tool in tools.build_tools(nobody)} == set(TOOLS)
    assert set(TOOLS) <= set(OPERATIONS)


def test_every_operation_asks_for_scopes_that_exist() -> None:
    """A misspelt scope would lock an operation for good."""
    for operation in OPERATIONS.values():
        assert operation.scopes
        assert operation.scopes <= set(SCOPES)


def test_whatever_writes_is_signed() -> None:
    """An order over HTTP is signed; what is added later must be, too."""
    writing = {one.name for one in OPERATIONS.values() if one.writes}
    assert writing == {one.name for one in OPERATIONS.values() if one.signed}
    assert "create_order" in writing


def errors() -> Iterator[type[GatewayError]]:
    """Yield every error class of the package."""
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name not in {"__main__.py", "env.py"} and "versions" not in path.parts:
            importlib.import_module(name)
    waiting: list[type[GatewayError]] = [GatewayError]
    while waiting:
        one = waiting.pop()
        if one.__module__.startswith("mcp_gateway"):
            yield one
        waiting += one.__subclasses__()


def test_every_error_has_a_code_a_hint_and_a_status() -> None:
    """Code and hint are what an agent acts on."""
    found = list(errors())
    assert len(found) > 20
    for one in found:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one.default_code), one
        assert one.default_hint.endswith("."), one
        assert 400 <= one.status <= 599, one
        assert one("a sentence").public().keys() >= {"code", "message", "retryable", "hint"}


def test_every_class_of_error_has_a_code_of_its_own() -> None:
    """Two classes under one code could not be told apart."""
    owners: dict[str, set[str]] = {}
    for one in errors():
        own = "default_code" in vars(one)
        if own and one is not GatewayError:
            owners.setdefault(one.default_code, set()).add(one.__name__)
    doubled = {code: names for code, names in owners.items() if len(names) > 1}
    assert not doubled


@of_modules()
def test_a_module_fits_into_a_sitting(path: Path) -> None:
    """Modules under 300 lines, the exceptions with their reason."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    name = str(path.relative_to(PACKAGE))
    assert (lines > LONGEST_MODULE) == (name in LONGER_MODULES), f"{lines} lines"


@of_modules()
def test_a_function_fits_onto_a_screen(path: Path) -> None:
    """Functions under 40 lines; docstrings let some reach 60, none go beyond."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def test_no_file_names_a_machine_or_a_package_index() -> None:
    """A clone must work anywhere, with any mirror: no path and no host of one place."""
    found = []
    for path in files():
        if path.suffix not in BINARY:
            text = path.read_text(encoding="utf-8")
            found += [(str(path.relative_to(ROOT)), one) for one in NEEDLES if one in text]
    assert not found


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments of a module with their lines."""
    with path.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def test_every_exception_to_a_rule_names_the_rule_and_the_reason() -> None:
    """A noqa or type-ignore stands only with its code and a reason beside it."""
    reason = r"\s*(?:-|#|\()\s*\w.{5,}"
    allowed = re.compile(
        rf"# noqa: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*{reason}"
        rf"|# type: ignore\[[a-z, -]+\]{reason}"
    )
    found = []
    for path in files():
        if path.suffix == ".py":
            for line, comment in comments(path):
                marked = re.search(r"#\s*(?:noqa|type:\s*ignore)", comment)
                if marked and not allowed.search(comment):
                    found.append(f"{path.relative_to(ROOT)}:{line} {comment}")
    assert not found


def test_no_file_holds_unfinished_work() -> None:
    """What is not done is told in README's list, not left in a comment."""
    word = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
    for path in modules():
        for line, comment in comments(path):
            assert not word.search(comment), f"{path.name}:{line}"
