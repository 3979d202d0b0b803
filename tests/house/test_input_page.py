"""docs/input.md and the code: every code of a refusal before it is known what is meant."""

import ast
import re
from typing import Final

import pytest

from mcp_gateway import errors
from mcp_gateway.transports import faults, refusals, rpc
from mcp_gateway.transports.body import DEEPEST_NESTING
from mcp_gateway.transports.door import BODY_DEADLINE_S, MOST_HEADERS, TOLD_HEAD_BYTES
from mcp_gateway.transports.rest.queries import MOST_PARAMETERS
from mcp_gateway.transports.rpc import LONGEST_ID
from tests.house.repository import PACKAGE, page, rows

pytestmark = pytest.mark.unit

# Of the SDK's numbers: a bug of ours, told as everywhere; and what it has no word for.
ELSEWHERE: Final = {"internal_error", "refused"}
BY_CLASS: Final = (
    errors.RequestMalformed, errors.RequestTooLarge, errors.RequestTimeout,
    errors.MediaTypeNotSupported, faults.NotAcceptable, errors.HeadersTooLarge,
    rpc.HeaderMismatch, rpc.ProtocolVersionUnknown, errors.RequestInvalid,
)  # fmt: skip


def told(heading: str) -> dict[str, list[str]]:
    """Return a section's table by its codes."""
    section = page("docs/input.md").text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return {row[0].strip("`"): row for row in rows(section)[1:]}


def literal(module: str) -> set[str]:
    """Return the codes that stand literally in a module's refusals."""
    tree = ast.parse((PACKAGE / "transports" / module).read_text(encoding="utf-8"))
    named = [
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code"
    ]
    return {str(one.value) for one in named if isinstance(one, ast.Constant)}


def test_every_code_is_told() -> None:
    """Those of the bytes, of the messages and of the SDK's numbers, and no other."""
    of_the_sdk = {one.code for one in faults._TOLD.values()} | {faults._STATE.code}
    made = {kind.default_code for kind in BY_CLASS} | of_the_sdk
    made |= literal("body.py") | literal("rpc.py") | {"body_not_expected", "message_malformed"}
    assert told("Messages").keys() | told("JSON-RPC").keys() == made - ELSEWHERE


def test_every_number_is_the_one_that_is_sent() -> None:
    """JSON-RPC's number beside each code, and the status beside it over HTTP."""
    kinds = {kind.default_code: kind for kind in BY_CLASS}
    of_body = dict.fromkeys(literal("body.py"), errors.RequestMalformed)
    for code, row in {**told("Messages"), **told("JSON-RPC")}.items():
        kind = kinds.get(code) or of_body.get(code)
        if kind is None or row[2] == "–":
            continue
        error = kind("A sentence.", code=code)
        assert str(refusals._rpc_code(error)) == row[2], code
        if len(row) > 3:
            assert str(error.status) == row[3], code


def test_every_bound_is_the_one_that_holds() -> None:
    """The page's numbers are the constants' own."""
    text = re.sub(r"\s+", " ", page("docs/input.md").text)
    for claim in (
        f"more than {DEEPEST_NESTING} levels",
        f"more than {TOLD_HEAD_BYTES // 1024} KiB or {MOST_HEADERS} headers",
        f"within {BODY_DEADLINE_S:.0f} s",
        f"at most {MOST_PARAMETERS} of them",
        f"at most {LONGEST_ID} characters",
    ):
        assert claim in text, claim
