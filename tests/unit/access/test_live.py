"""Real money wants a scope of its own: one more that the gate asks for, on a live gateway."""

import pytest

from mcp_gateway.access.tokens.claims import LOCAL
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES, OPERATIONS
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Credentials
from mcp_gateway.errors import GatewayError, NotPermitted
from tests.support.gates import Bench, credentials, make_bench
from tests.support.tokens import forge

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

TRADING = ("create_order", "cancel_order")
USUAL = "orders:create orders:preview positions:read market:read"
STDIO = Credentials("stdio", None, credentials().evidence, "call-1")


def bench(mode: Mode, scopes: str = USUAL) -> Bench:
    return make_bench(mode=mode, scopes=scopes, policy="policy.toml")


async def refusal(made: Bench, shown: Credentials, operation: str) -> GatewayError:
    with pytest.raises(NotPermitted) as refused:
        await made.gate.admit(shown, OPERATIONS[operation])
    return refused.value


@pytest.mark.parametrize("operation", TRADING)
async def test_a_caller_without_the_scope_trades_no_real_money(operation: str) -> None:
    """The refusal names what is missing, and is noted."""
    made = bench("live")
    error = await refusal(made, credentials(forge(scope=USUAL)), operation)
    assert (error.code, error.detail["scope"]) == ("scope_missing", "orders:live")
    [noted] = made.noted()
    assert (noted.code, noted.operation) == ("scope_missing", operation)


@pytest.mark.parametrize("operation", TRADING)
async def test_the_live_scope_alone_trades_nothing(operation: str) -> None:
    """It comes in addition to the usual one, in either mode."""
    for mode in ("live", "dry-run"):
        shown = credentials(forge(scope="orders:live"))
        error = await refusal(make_bench(mode=mode), shown, operation)
        assert error.detail["scope"] == "orders:create"


@pytest.mark.parametrize("operation", TRADING)
async def test_with_both_scopes_a_caller_is_let_in(operation: str) -> None:
    """As far as scopes go: over stdio nothing else is asked."""
    admission = await bench("live", f"{USUAL} orders:live").gate.admit(STDIO, OPERATIONS[operation])
    assert admission.operation.name == operation


@pytest.mark.parametrize("operation", TRADING)
async def test_in_a_dry_run_the_usual_scope_will_do(operation: str) -> None:
    """No real money, no further question."""
    admission = await bench("dry-run").gate.admit(STDIO, OPERATIONS[operation])
    assert admission.operation.name == operation


async def test_the_local_caller_gets_the_live_scope_only_where_it_is_listed() -> None:
    """Not by default, and not with the scope of orders."""
    assert "orders:live" not in DEFAULT_LOCAL_SCOPES
    made = bench("live")
    assert (await made.gate.authenticate(STDIO)).issuer == LOCAL
    assert (await refusal(made, STDIO, "create_order")).detail["scope"] == "orders:live"


@pytest.mark.parametrize("operation", ["dry_run_order", "get_order", "get_account", "get_candles"])
async def test_looking_wants_no_live_scope(operation: str) -> None:
    """Nothing of it moves money."""
    admission = await bench("live").gate.admit(STDIO, OPERATIONS[operation])
    assert admission.operation.name == operation


async def test_what_is_out_of_reach_is_not_counted_as_left() -> None:
    """get_account tells no quota of a tool that the caller can't call."""
    made = bench("live")
    left = await made.gate.calls_left(await made.gate.authenticate(STDIO))
    assert "create_order" not in left
    assert "dry_run_order" in left


def test_whatever_sends_orders_wants_the_live_scope() -> None:
    """Another way to the bot must not pass by it."""
    wanting = {one.name for one in OPERATIONS.values() if one.live_scope == "orders:live"}
    assert wanting == set(TRADING)
