"""The person at the client is asked where the policy trusts that client, in both eras."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest
from mcp import MCPError
from mcp.client import ClientRequestContext
from mcp.types import (
    INVALID_REQUEST,
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    InputRequiredResult,
)

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.risk.changes import Changes
from mcp_gateway.transports.mcp import elicitation
from tests.support.asking import policy_file
from tests.support.desk import order
from tests.support.elicited import DECLINED, YES, Asked
from tests.support.mcpserver import ERAS, Agent, Era, an_order, connected

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NO: Final = ElicitResult(action="accept", content={"approve": False})
CANCELLED: Final = ElicitResult(action="cancel")


@asynccontextmanager
async def agent_with(
    folder: Path, mode: Era, person: Asked | None, *, trusted: bool = True
) -> AsyncIterator[Agent]:
    """Connect an agent whose orders need a person, with somebody at its client or nobody."""
    policy = policy_file(folder, asks_client=trusted)
    async with connected(folder, mode=mode, person=person, policy=policy) as agent:
        yield agent


async def order_rows(agent: Agent) -> list[Any]:
    """Return the audit rows of orders, oldest first."""
    rows = await (await agent.gateway.audit_log()).tail(100)
    return [row.event for row in rows if row.event.event.startswith("order.")]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_yes_at_the_client_places_the_order(mode: Era, tmp_path: Path) -> None:
    """The call's answer is the receipt; the audit log says whose client it was."""
    person = Asked(YES)
    wanted = an_order()
    async with agent_with(tmp_path, mode, person) as agent:
        told = await agent.told("create_order", **wanted)
        assert (told["outcome"], told["request_id"]) == ("placed", wanted["request_id"])
        [yes] = [row for row in await order_rows(agent) if row.event == "order.approved"]
        assert yes.detail["by"] == "client of agent-a"
        assert (yes.channel, yes.operation) == ("stdio", "create_order")
        assert len(agent.bot.posts) == 1
    [shown] = person.shown
    assert shown.startswith('Dry-run order: no real money.\nAgent "agent-a" wants to buy 1 BTC')
    assert f"Order {told['order_id']}." in shown


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("answer", [NO, DECLINED], ids=["no", "declined"])
async def test_a_no_at_the_client_declines_it(
    answer: ElicitResult, mode: Era, tmp_path: Path
) -> None:
    """Whichever way the client says no."""
    async with agent_with(tmp_path, mode, Asked(answer)) as agent:
        refusal = await agent.refusal("create_order", **an_order())
        assert refusal["code"] == "declined"
        assert agent.bot.posts == []


WAITS = {
    "cancelled": CANCELLED,
    "accepted without a word": ElicitResult(action="accept"),
    "accepted with another word": ElicitResult(action="accept", content={"yes": True}),
    "text": ElicitResult(action="accept", content={"approve": "true"}),
    "number": ElicitResult(action="accept", content={"approve": 1}),
}


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("answer", WAITS.values(), ids=WAITS)
async def test_anything_else_leaves_it_waiting(
    answer: ElicitResult, mode: Era, tmp_path: Path
) -> None:
    """Only a plain yes approves; another person may still decide."""
    async with agent_with(tmp_path, mode, Asked(answer)) as agent:
        told = await agent.told("create_order", **an_order())
        assert told["outcome"] == "pending_approval"
        assert agent.bot.posts == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_the_policy_does_not_trust_is_not_asked(
    mode: Era, tmp_path: Path
) -> None:
    """Off by default: a client that an agent owns would say yes to itself."""
    person = Asked(YES)
    async with agent_with(tmp_path, mode, person, trusted=False) as agent:
        assert (await agent.told("create_order", **an_order()))["outcome"] == "pending_approval"
        assert (person.shown, agent.bot.posts) == ([], [])


@pytest.mark.parametrize("mode", ERAS)
async def test_a_yes_counts_only_while_the_client_is_trusted(mode: Era, tmp_path: Path) -> None:
    """Trust that ends while the question is open is gone when the answer comes."""
    connections: list[Agent] = []

    class Late(Asked):
        async def __call__(
            self, context: ClientRequestContext, params: ElicitRequestParams
        ) -> ElicitResult | ErrorData:
            policies = connections[0].gateway.policies
            trusting = policies.current
            doubting = replace(trusting.defaults, asks_client=False)
            policies._put_in_force(replace(trusting, defaults=doubting), Changes())
            return await super().__call__(context, params)

    person = Late(YES)
    async with agent_with(tmp_path, mode, person) as agent:
        connections.append(agent)
        told = await agent.told("create_order", **an_order())
        assert (told["outcome"], agent.bot.posts) == ("pending_approval", [])
    assert len(person.shown) == 1


async def test_a_trusted_name_makes_no_client_trusted(tmp_path: Path) -> None:
    """An order for another agent is not asked about at the client of whoever sends it."""
    trader = Principal("tests", "rogue", frozenset({"orders:create"}), frozenset({"desk"}))
    admitted = admission_by_the_gate(trader, OPERATIONS["create_order"], "http", "call-1")
    nobody: Any = None  # a client that is not trusted is not even looked at
    async with agent_with(tmp_path, "legacy", Asked(YES)) as agent:
        orders = await agent.gateway.orders()
        wanted = order(agent="desk")
        created = await orders.create(admitted, wanted)
        assert created.answer["outcome"] == "pending_approval"
        asker = elicitation.ClientApproval(agent.gateway)
        assert not await asker.asked(nobody, admitted, wanted.request_id)
        assert agent.bot.posts == []


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_that_cannot_ask_gets_the_plain_answer(mode: Era, tmp_path: Path) -> None:
    """Never a precondition."""
    async with agent_with(tmp_path, mode, None) as agent:
        assert (await agent.told("create_order", **an_order()))["outcome"] == "pending_approval"


async def test_a_client_that_fails_to_ask_gets_the_plain_answer(tmp_path: Path) -> None:
    """Its error is its own."""
    person = Asked(ErrorData(code=INVALID_REQUEST, message="not now"))
    async with agent_with(tmp_path, "legacy", person) as agent:
        assert (await agent.told("create_order", **an_order()))["outcome"] == "pending_approval"


async def test_a_person_who_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    """The call ends with the plain answer, and the order waits on."""
    told: list[dict[str, Any]] = []

    class Asleep(Asked):
        async def __call__(
            self,
            context: ClientRequestContext,  # noqa: ARG002  (the SDK's signature)
            params: ElicitRequestParams,
        ) -> ElicitResult | ErrorData:
            self.shown.append(params.message)
            await anyio.sleep_forever()
            raise AssertionError

    person = Asleep(YES)
    async with agent_with(tmp_path, "legacy", person) as agent:

        async def call() -> None:
            told.append(await agent.told("create_order", **an_order()))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not person.shown:
                await anyio.lowlevel.checkpoint()
            agent.clock.advance(elicitation.LONGEST_WAIT_S)
        assert told[0]["outcome"] == "pending_approval"
        assert (await agent.told("get_order", request_id=told[0]["request_id"]))["final"] is False


@pytest.mark.parametrize("mode", ERAS)
async def test_what_was_decided_at_the_client_is_checked_again(mode: Era, tmp_path: Path) -> None:
    """A yes is no way around a rule: the pair was taken while the question stood."""

    class Slow(Asked):
        agent: Agent

        async def __call__(
            self, context: ClientRequestContext, params: ElicitRequestParams
        ) -> ElicitResult | ErrorData:
            taken = {"pair": "BTC/USDT", "stakeamount": 100, "ordertype": "market"}
            self.agent.bot._enter(taken | {"entry_tag": "strategy"})
            return await super().__call__(context, params)

    person = Slow(YES)
    async with agent_with(tmp_path, mode, person) as agent:
        person.agent = agent
        assert (await agent.refusal("create_order", **an_order()))["code"] == "position_exists"
        assert agent.bot.posts == []


@pytest.mark.parametrize("mode", ERAS)
async def test_an_order_below_the_line_asks_nobody(mode: Era, tmp_path: Path) -> None:
    """Nor does one that a rule denies."""
    person = Asked(YES)
    async with agent_with(tmp_path, mode, person) as agent:
        assert (await agent.told("create_order", **an_order(amount="0.2")))["outcome"] == "placed"
        denied = await agent.refusal("create_order", **an_order(pair="ETH/USDT", amount="1000"))
        assert denied["code"] == "notional_too_large"
    assert person.shown == []


async def round_of(
    agent: Agent, arguments: dict[str, Any], **more: Any
) -> CallToolResult | InputRequiredResult:
    """Make one round of a call by hand, as a client that lies would."""
    result: CallToolResult | InputRequiredResult = await agent.client.session.call_tool(
        "create_order", arguments, allow_input_required=True, **more
    )
    return result


async def question(agent: Agent, wanted: dict[str, Any]) -> str:
    """Return the sealed state of a question that is left open."""
    asked = await round_of(agent, wanted)
    assert isinstance(asked, InputRequiredResult)
    assert asked.request_state is not None
    assert asked.input_requests is not None
    assert list(asked.input_requests) == [elicitation.KEY]
    return asked.request_state


def outcome(result: CallToolResult | InputRequiredResult) -> tuple[bool, str]:
    """Return whether a call failed, and its outcome or code."""
    assert isinstance(result, CallToolResult)
    told = result.structured_content or {}
    return bool(result.is_error), told["code"] if result.is_error else told["outcome"]


ANSWER: Final = {elicitation.KEY: YES}


async def test_an_answer_without_a_question_is_none(tmp_path: Path) -> None:
    """A client that says yes before it was asked is asked."""
    wanted = an_order()
    async with agent_with(tmp_path, "auto", Asked(YES)) as agent:
        result = await round_of(agent, wanted, input_responses=ANSWER)
        assert isinstance(result, InputRequiredResult)
        assert agent.bot.posts == []


@pytest.mark.parametrize("how", ["made up", "altered", "cut", "of another order", "plain"])
async def test_a_state_that_is_not_ours_is_refused(how: str, tmp_path: Path) -> None:
    """Sealed for one caller, one call and these very arguments."""
    wanted, other = an_order(), an_order(pair="ETH/USDT")
    async with agent_with(tmp_path, "auto", Asked(YES)) as agent:
        ours = await question(agent, wanted)
        order_id = (await agent.told("get_order", request_id=wanted["request_id"]))["order_id"]
        state = {
            "made up": "v1.AAAA",
            "altered": ours[:-2] + ("AA" if not ours.endswith("AA") else "BB"),
            "cut": ours[:-8],
            "of another order": await question(agent, other),
            "plain": f'{{"order_id":"{order_id}","once":"1"}}',
        }[how]
        with pytest.raises(MCPError) as refused:
            await round_of(agent, wanted, input_responses=ANSWER, request_state=state)
        assert refused.value.data == {"reason": "invalid_request_state"}
        told = await agent.told("get_order", request_id=wanted["request_id"])
        assert told["outcome"] == "pending_approval"
        assert agent.bot.posts == []


async def test_a_state_of_another_order_under_changed_arguments_is_refused(tmp_path: Path) -> None:
    """What was shown is what is approved: the amount can't be exchanged behind the question."""
    wanted = an_order()
    async with agent_with(tmp_path, "auto", Asked(YES)) as agent:
        state = await question(agent, wanted)
        with pytest.raises(MCPError):
            await round_of(
                agent, wanted | {"amount": "5"}, input_responses=ANSWER, request_state=state
            )
        assert agent.bot.posts == []


async def test_an_answered_question_is_used_up(tmp_path: Path) -> None:
    """A cancel can't be turned into a yes by the same state."""
    wanted = an_order()
    async with agent_with(tmp_path, "auto", Asked(YES)) as agent:
        state = await question(agent, wanted)
        cancelled = {elicitation.KEY: CANCELLED}
        first = await round_of(agent, wanted, input_responses=cancelled, request_state=state)
        assert outcome(first) == (False, "pending_approval")
        again = await round_of(agent, wanted, input_responses=ANSWER, request_state=state)
        assert outcome(again) == (True, "answer_used")
        assert agent.bot.posts == []


async def test_the_same_yes_again_is_told_what_it_did(tmp_path: Path) -> None:
    """A client whose answer was lost repeats the call; one order, one receipt."""
    wanted = an_order()
    async with agent_with(tmp_path, "auto", Asked(YES)) as agent:
        state = await question(agent, wanted)
        for _ in range(2):
            told = await round_of(agent, wanted, input_responses=ANSWER, request_state=state)
            assert outcome(told) == (False, "placed")
        assert len(agent.bot.posts) == 1


async def test_a_trust_that_was_taken_back_counts_at_the_answer(tmp_path: Path) -> None:
    """The policy of the moment decides, not the one under which the question was asked."""
    wanted = an_order()
    async with agent_with(tmp_path, "auto", Asked(YES)) as agent:
        state = await question(agent, wanted)
        policy_file(tmp_path, asks_client=False)
        async with anyio.create_task_group() as group:
            group.start_soon(agent.gateway.policies.look)
            while agent.gateway.policies.current.defaults.asks_client:
                agent.clock.advance(1)
                await anyio.sleep(0.01)
            agent.clock.advance(1)
        told = await round_of(agent, wanted, input_responses=ANSWER, request_state=state)
        assert outcome(told) == (False, "pending_approval")
        assert agent.bot.posts == []


async def test_the_question_is_no_argument_of_the_tool(tmp_path: Path) -> None:
    """What the SDK hands in can't be handed in by a caller."""
    async with agent_with(tmp_path, "auto", None) as agent:
        refusal = await agent.refusal("create_order", **an_order(), context={"approve": True})
        assert (refusal["code"], refusal["field"]) == ("request_invalid", "context")
