"""The one table: who may what, signed or not; and which operation a URI is."""

import pytest

from mcp_gateway.domain.market import TIMEFRAMES, base_and_quote, is_pair, timeframe_seconds
from mcp_gateway.domain.operations import (
    DEFAULT_LOCAL_SCOPES,
    OPERATIONS,
    SCOPES,
    TOOLS,
    resource_operation,
)
from mcp_gateway.domain.principals import Admission, Principal
from mcp_gateway.errors import NotFound

pytestmark = pytest.mark.unit


def test_every_operation_asks_for_scopes_that_there_are() -> None:
    """An operation without a scope would be open to every token."""
    for operation in OPERATIONS.values():
        assert operation.scopes
        assert operation.scopes <= set(SCOPES)
        assert operation.quota


def test_every_tool_stands_in_the_table() -> None:
    """By its own name."""
    assert set(TOOLS) <= set(OPERATIONS)


def test_what_writes_is_signed_and_out_of_reach_by_default() -> None:
    """Whoever adds an operation that writes must say both."""
    for operation in OPERATIONS.values():
        assert operation.signed is operation.writes
        if operation.writes:
            assert operation.scopes.isdisjoint(DEFAULT_LOCAL_SCOPES)
    writing = {one.name for one in OPERATIONS.values() if one.writes}
    assert writing == {
        "create_order", "cancel_order", "approve_order", "decline_order", "halt", "release_halt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "operation"),
    [
        ("freqtrade://pairs", "read_pairs"),
        ("freqtrade://pairs/BTC%2FUSDT", "read_pairs"),
        ("freqtrade://pairs/{pair}", "read_pairs"),
        ("freqtrade://candles/BTC%2FUSDT/5m", "read_candles"),
        ("freqtrade://positions/open", "read_positions"),
        ("freqtrade://positions/{pair}", "read_positions"),
        ("gateway://orders/550e8400-e29b-41d4-a716-446655440000", "read_order"),
        ("gateway://limits", "read_limits"),
        ("gateway://pairs", "unknown_resource"),
        ("freqtrade://limits", "unknown_resource"),
        ("freqtrade://user@pairs", "unknown_resource"),
        ("freqtrade://pairs:80", "unknown_resource"),
        ("freqtrade:pairs", "unknown_resource"),
        ("https://pairs", "unknown_resource"),
        ("", "unknown_resource"),
    ],
)
def test_a_uri_is_one_operation(uri: str, operation: str) -> None:
    """By scheme and authority; whatever fits nothing is asked for as the unknown."""
    assert resource_operation(uri) is OPERATIONS[operation]


def test_a_resource_spends_what_its_tool_spends() -> None:
    """Two doors to one thing are one quota."""
    pairs = {
        "read_candles": "get_candles",
        "read_positions": "get_open_positions",
        "read_order": "get_order",
        "read_limits": "get_account",
    }
    for resource, tool in pairs.items():
        assert OPERATIONS[resource].quota == OPERATIONS[tool].quota
        assert OPERATIONS[resource].scopes == OPERATIONS[tool].scopes


def test_an_admission_is_made_by_the_gate_alone() -> None:
    """A forgotten check is a type error, and a forged admission a crash."""
    principal = Principal("i", "s", frozenset())
    with pytest.raises(TypeError):
        Admission(principal, OPERATIONS["create_order"], "http", "c")
    with pytest.raises(TypeError):
        Admission(principal, OPERATIONS["create_order"], "http", "c", made_by=object())


def test_a_principal_speaks_for_itself_and_whom_its_token_names() -> None:
    """act_for, and nobody by default."""
    principal = Principal("i", "desk", frozenset(), act_for=frozenset({"scout"}))
    assert [principal.speaks_for(one) for one in ("desk", "scout", "other", "")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_timeframes_have_a_length_and_others_are_not_found() -> None:
    """Seconds; the unknown one's value is not repeated."""
    assert (timeframe_seconds("5m"), timeframe_seconds("1d")) == (300, 86400)
    assert list(TIMEFRAMES.values()) == sorted(TIMEFRAMES.values())
    with pytest.raises(NotFound) as refused:
        timeframe_seconds("canary")
    assert refused.value.code == "timeframe_unknown"
    assert "canary" not in str(refused.value.public())


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("BTC/USDT", True), ("BTC/USDT:USDT", True), ("1INCH/BTC", True), ("btc/usdt", False),
        ("BTC/USDT\n", False), ("BTC/", False), ("/USDT", False), ("BTC/USDT/X", False),
        ("BTC USDT", False), ("", False), ("../x", False),
    ],
)  # fmt: skip
def test_a_pair_has_one_form(text: str, answer: bool) -> None:
    """BASE/QUOTE, with :SETTLE for futures, upper case."""
    assert is_pair(text) is answer


def test_a_pair_is_base_and_quote() -> None:
    """What it settles in is neither."""
    assert base_and_quote("BTC/USDT") == ("BTC", "USDT")
    assert base_and_quote("BTC/USDC:USDT") == ("BTC", "USDC")
