"""A process whose token may act for other agents: what stops it stops it under every name."""

from dataclasses import replace
from pathlib import Path

import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Admission, Principal, admission_by_the_gate
from mcp_gateway.errors import GatewayError
from mcp_gateway.risk.facts import Standing
from mcp_gateway.risk.policy import Limits, Policy
from tests.support.clock import ManualClock
from tests.support.desk import Desk, open_desk, order
from tests.support.halting import LateHalt, codes, halted, new_halt
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

X, Y, Z = "agent-x", "agent-y", "agent-z"


def acting(subject: str = X, operation: str = "create_order") -> Admission:
    """Return a caller that may act for two other agents."""
    scopes = frozenset({"orders:create", "orders:preview"})
    principal = Principal("tests", subject, scopes, frozenset({Y, Z}))
    return admission_by_the_gate(principal, OPERATIONS[operation], "http", "c")


async def outcome(desk: Desk, wanted: OrderRequest, subject: str = X) -> str:
    """Return the code of a refusal, or ``placed``."""
    try:
        created = await desk.orders.create(acting(subject), wanted)
    except GatewayError as error:
        return error.code
    return str(created.answer["outcome"])


@pytest.mark.parametrize(
    ("named", "agent", "told"),
    [
        pytest.param(X, Y, "trading_halted", id="the-caller"),
        pytest.param(Y, Y, "trading_halted", id="the-agent"),
        pytest.param(Z, Y, "placed", id="another"),
    ],
)
async def test_a_halt_binds_who_sends_and_for_whom(
    desk: Desk, named: str, agent: str, told: str
) -> None:
    """A halted process does not go on under the name of another agent."""
    await halted(desk, agent=named)
    seen = await desk.orders.preview(acting(operation="dry_run_order"), order(agent=agent))
    assert seen.valid is (told == "placed")
    assert await outcome(desk, order(agent=agent)) == told


async def test_a_halted_caller_still_sells(desk: Desk) -> None:
    """Exits are never trapped."""
    assert await outcome(desk, order(agent=Y)) == "placed"
    await halted(desk, agent=X)
    assert await outcome(desk, order(agent=Y, side="sell")) == "placed"


class LateForOne(LateHalt):
    """The caller is halted right behind the look that the rules take."""

    def with_own(self, standing: Standing) -> Standing:
        told = super(LateHalt, self).with_own(standing)
        self.add(new_halt(agent=X))
        return told


async def test_the_last_look_knows_the_caller_too(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Between ``sent`` and the first byte."""
    async with open_desk(tmp_path, bot, clock, local=LateForOne(tmp_path)) as desk:
        assert await outcome(desk, order(agent=Y)) == "trading_halted"
        assert bot.posts == []


def policy(**agents: Limits) -> Policy:
    """Return the tests' policy with sections of the agents x, y and z."""
    return replace(POLICY, agents={f"agent-{name}": one for name, one in agents.items()})


@pytest.mark.parametrize(
    ("disabled", "told"), [("x", "agent_disabled"), ("y", "agent_disabled"), ("z", "placed")]
)
async def test_enabled_false_binds_who_sends_and_for_whom(
    tmp_path: Path, bot: TradingBot, clock: ManualClock, disabled: str, told: str
) -> None:
    """As a halt does."""
    rules = policy(**{disabled: replace(POLICY.defaults, enabled=False)})
    async with open_desk(tmp_path, bot, clock, policy=rules) as desk:
        assert await outcome(desk, order(agent=Y)) == told


async def test_repeats_are_counted_of_the_caller_over_all_its_agents(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """And it is the caller that is halted: under whichever name it repeats itself."""
    rules = policy(x=replace(POLICY.defaults, repeats=2))
    async with open_desk(tmp_path, bot, clock, policy=rules) as desk:
        for agent in (Y, Z):
            assert await outcome(desk, order(agent=agent)) == "placed"
            assert await outcome(desk, order(agent=agent, side="sell")) == "placed"
            clock.advance(1)
        assert await outcome(desk, order(agent=Y)) == "repeat_throttle"
        held = await desk.halts.in_force()
        assert [(one.name, one.code) for one in held] == [(X, "repeat_throttle")]
        assert await outcome(desk, order(agent=Z, pair="ETH/USDT")) == "trading_halted"
        assert await outcome(desk, order(pair="ETH/USDT"), subject="agent-w") == "placed"


async def test_an_agents_own_repeats_halt_it_and_whoever_sent_them(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Where both have the limit, both are halted."""
    rules = replace(POLICY, defaults=replace(POLICY.defaults, repeats=1))
    async with open_desk(tmp_path, bot, clock, policy=rules) as desk:
        assert await outcome(desk, order(agent=Y)) == "placed"
        assert await outcome(desk, order(agent=Y, side="sell")) == "placed"
        clock.advance(1)
        assert await outcome(desk, order(agent=Y)) == "repeat_throttle"
        assert await codes(desk) == ["repeat_throttle", "repeat_throttle"]
