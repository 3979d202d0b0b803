"""Bent requests to the whole HTTP face and to stdio: CI's share of them.

The whole size is ``python -m tests.proofs.access.fuzz --bodies 1000000``.
"""

from pathlib import Path

import pytest

from mcp_gateway.transports import body, rpc
from tests.proofs.access.fuzz.__main__ import report
from tests.proofs.access.fuzz.run import run
from tests.proofs.access.fuzz.verdict import Answered, faults

pytestmark = pytest.mark.integration

BODIES = 4_000
FEW = 400
REFUSAL = b'{"code":"x","message":"x","retryable":false,"hint":"x"}'


def test_whatever_is_sent_gets_an_answer_that_can_be_read(tmp_path: Path) -> None:
    """No 5xx, no traceback, no hang, flat memory; what must be refused is refused."""
    found = run(tmp_path, BODIES, seed=1)
    assert found.violations == []
    assert report(found, 0) == 0
    assert (found.bodies, found.lines) == (BODIES, BODIES // 20)
    assert found.statuses[200] > BODIES / 10  # not everything ends at the first check


def test_a_lenient_envelope_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer can fail: without the check of the messages, the SDK does what it understood."""
    monkeypatch.setattr(rpc, "check", lambda _message, **_options: None)
    found = run(tmp_path, FEW, seed=2)
    assert report(found, 0) == 1
    assert any("had to refuse" in one or "what is no call" in one for one in found.violations)
    assert any("logs mcp_gateway.transports.door" in one for one in found.violations)


def test_a_lenient_parser_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key twice is a way around every limit."""
    monkeypatch.setattr(body, "_each_key_once", dict)
    found = run(tmp_path, FEW, seed=3)
    assert any("had to refuse" in one for one in found.violations)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answered(500, body=b"{}"), "status 500"),
        (Answered(200, body=b"<html>"), "is no answer"),
        (Answered(200, body=b'{"jsonrpc":"2.0","id":1}'), "is no answer"),
        (Answered(202, body=b"{}"), "has a body"),
        (Answered(400, body=b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"data":{}}}'), "a hint"),
        (Answered(200, body=b'{"jsonrpc":"2.0","id":1,"result":{"x":"ValueError"}}'), "tells"),
        (Answered(200, body=b'{"jsonrpc":"2.0","id":null,"result":{}}'), "answers nobody"),
    ],
    ids=["5xx", "no-json", "no-result", "body-of-202", "no-code", "class-name", "no-id"],
)
def test_a_wrong_answer_is_told(answer: Answered, told: str) -> None:
    """Each fault that is looked for is seen where it is."""
    found = faults("modern", answer, must_refuse=False, path="/mcp")
    assert any(told in one for one in found), found


def test_a_good_refusal_is_no_fault() -> None:
    """So that the table above is no table of everything."""
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x","data":' + REFUSAL
    good = Answered(400, body=error + b"}}")
    assert faults("modern", good, must_refuse=True, path="/mcp") == []
