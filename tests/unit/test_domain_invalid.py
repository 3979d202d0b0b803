"""What is wrong with a request is told field by field, in our words, without the caller's."""

from typing import Any

import pytest
from pydantic import BaseModel

from mcp_gateway.domain.invalid import MOST_FAULTS, WORDS, read
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.orders.flatten import FlattenRequest
from mcp_gateway.orders.halts.records import HaltRequest, ReleaseRequest
from mcp_gateway.orders.settling.settlement import Decision
from mcp_gateway.transports.rest.queries import CandlesQuery, PositionsQuery
from mcp_gateway.transports.rest.shapes import Approval, Decline, Login, NewOrder

pytestmark = pytest.mark.unit

SHAPES = (
    OrderRequest, NewOrder, HaltRequest, ReleaseRequest, Decision, Approval, Decline, Login,
    CandlesQuery, PositionsQuery, FlattenRequest,
)  # fmt: skip
CANARY = "canary-of-a-caller"
BAD: tuple[Any, ...] = (
    3, 1.5, True, [CANARY], {"a": CANARY}, "NaN", float("inf"), float("nan"), 10**30, -1, "9" * 40,
    CANARY, CANARY * 300, "",
)  # fmt: skip
GOOD: dict[type[BaseModel], dict[str, Any]] = {
    shape: {
        "request_id": "550e8400-e29b-41d4-a716-446655440000", "pair": "BTC/USDT", "side": "buy",
        "amount": "1", "order_type": "market",
    }
    for shape in (OrderRequest, NewOrder)
}  # fmt: skip
OF_A_LIBRARY = ("Input", "should", "instance", "dictionary", "Decimal", "object of", "String")


def faults_of(shape: type[BaseModel], document: Any) -> list[dict[str, str]]:
    """Return what is told of a document; nothing where it is sound."""
    try:
        read(shape, document)
    except RequestInvalid as error:
        faults: list[dict[str, str]] = error.detail["faults"]
        told = error.message
    else:
        return []
    assert told == f"{faults[0]['field']}: {faults[0]['expected']}"
    return faults


@pytest.mark.parametrize("shape", SHAPES)
def test_no_fault_speaks_of_a_library_or_repeats_the_caller(shape: type[BaseModel]) -> None:
    """A model reads it, and an operator: neither knows Python's types, and text is the caller's."""
    documents = [GOOD.get(shape, {}) | {name: bad} for name in shape.model_fields for bad in BAD]
    found = [fault for one in [*documents, *BAD, None] for fault in faults_of(shape, one)]
    assert found
    for fault in found:
        assert CANARY not in str(fault)
        assert fault["expected"] != "another value", f"{shape.__name__}.{fault['field']}"
        assert not any(word in fault["expected"] for word in OF_A_LIBRARY), fault


def test_each_fault_is_told_and_not_too_many() -> None:
    """The first one in the message, the others in the detail."""
    assert [one["field"] for one in faults_of(Decision, {"reason": "x"})] == ["finding", "reason"]
    many = {f"unknown_{number}": 1 for number in range(50)}
    assert len(faults_of(HaltRequest, many)) == MOST_FAULTS


def test_words_for_every_kind_have_what_they_name() -> None:
    """A gap that the library does not fill would be a crash where a refusal belongs."""
    known = {"min_length", "max_length", "expected", "gt", "ge", "lt", "le"}
    for words in WORDS.values():
        assert words.format(**dict.fromkeys(known, 1))
