"""Threat: an agent gets a person's yes that nobody gave it, or more than it was for."""

from dataclasses import replace
from decimal import Decimal

import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import OPERATIONS, TOOLS
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.approvals.decisions import APPROVED_LASTS, MOST_WAITING
from mcp_gateway.orders.approvals.dispatch import NOT_OURS_YET
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.question import Question, quoted
from mcp_gateway.orders.book.steps import Move
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import Limits, Policy
from mcp_gateway.storage.schema import halts
from tests.support.asking import (
    CONSOLE,
    approved,
    approver,
    asking,
    declined,
    id_of,
    not_approved,
    waiting,
)
from tests.support.clock import START
from tests.support.desk import Desk, admission, order, refused, stored

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

GRACE_S = NOT_OURS_YET.total_seconds()


@pytest.fixture
def rules() -> Policy:
    """Every order of a hundred needs a person."""
    return asking()


async def halted(desk: Desk, clock: Clock) -> None:
    """Put a halt of everything into the ledger, as an operator's command does."""
    row = {
        "scope": "all", "name": "", "code": "operator", "at": clock.now(), "by": "root",
        "reason": "enough", "bot_paused": 0,
    }  # fmt: skip
    await desk.store.write(lambda connection: connection.execute(halts.insert().values(**row)))


def test_no_tool_approves() -> None:
    """What a model can call decides nothing."""
    deciding = {one.name for one in OPERATIONS.values() if "orders:approve" in one.scopes}
    assert {"approve_order", "decline_order", "list_approvals"} <= deciding
    for tool in TOOLS:
        assert "orders:approve" not in OPERATIONS[tool].scopes


async def test_a_yes_is_for_one_order(desk: Desk) -> None:
    """Reuse: the same order again, under a new request id, waits anew."""
    await approved(desk, await waiting(desk))
    desk.bot.status.clear()
    again = await desk.orders.create(admission(), order())
    assert again.answer["outcome"] == "pending_approval"
    assert len(desk.bot.posts) == 1


async def test_a_yes_moves_to_no_other_order_of_the_request(desk: Desk) -> None:
    """Alter: another amount, pair, side or price under the approved request id is refused."""
    wanted = await waiting(desk)
    await desk.orders.approvals.approve(await id_of(desk, wanted), CONSOLE)
    for changes in (
        {"amount": "2"},
        {"pair": "ETH/USDT"},
        {"side": "sell"},
        {"order_type": "limit", "price": "101"},
    ):
        changed = order(request_id=wanted.request_id, **changes)
        assert (await refused(desk, changed)).code == "idempotency_conflict"
    desk.clock.advance(GRACE_S)
    await desk.orders.dispatch.look()
    assert (await stored(desk, wanted)).amount == 1
    assert len(desk.bot.posts) == 1


@pytest.mark.parametrize("name", ["amount", "pair", "agent", "price", "side", "order_type"])
async def test_the_ledger_changes_nothing_that_was_shown(desk: Desk, name: str) -> None:
    """No code of ours can alter an order on its way to a person and back."""
    before = await stored(desk, await waiting(desk))
    values = {
        "amount": Decimal(9), "pair": "ETH/USDT", "agent": "agent-b", "price": Decimal(1),
        "side": "sell", "order_type": "limit",
    }  # fmt: skip
    move = Move(Event.APPROVE, None, {}, {name: values[name]})
    with pytest.raises(ValueError, match=name):
        await desk.ledger.move(before, [move], CONSOLE.origin)
    assert await desk.ledger.by_id(before.order_id) == before


async def test_a_yes_after_a_no_is_none(desk: Desk) -> None:
    """A person's no is final."""
    wanted = await waiting(desk)
    await declined(desk, wanted)
    assert (await not_approved(desk, wanted)).code == "not_pending"
    desk.clock.advance(GRACE_S)
    await desk.orders.dispatch.look()
    assert desk.bot.posts == []


async def test_a_yes_after_the_end_is_none(desk: Desk) -> None:
    """Expire: a late yes is refused, whether or not anybody has looked since."""
    wanted = await waiting(desk)
    record = await stored(desk, wanted)
    assert record.expires_at is not None
    desk.clock.set_wall(record.expires_at)
    assert (await not_approved(desk, wanted)).code == "not_pending"
    assert (await stored(desk, wanted)).code == "approval_expired"


async def test_a_kept_yes_is_worth_nothing_later(desk: Desk) -> None:
    """A gateway that was away for longer than the yes lasts does not send it."""
    wanted = await waiting(desk)
    await desk.orders.approvals.approve(await id_of(desk, wanted), CONSOLE)
    desk.clock.advance(APPROVED_LASTS.total_seconds())
    record = await desk.orders.dispatch.send(await stored(desk, wanted), CONSOLE.origin)
    assert (record.state, record.code) == (State.DENIED, "approval_expired")
    assert desk.bot.posts == []


async def test_a_yes_does_not_lift_a_halt(desk: Desk) -> None:
    """Refused in words that say so, and not burnt: the order waits on."""
    wanted = await waiting(desk)
    await halted(desk, desk.clock)
    await desk.halts.refresh()
    assert (await not_approved(desk, wanted)).code == "trading_halted"
    assert (await stored(desk, wanted)).state is State.PENDING_APPROVAL
    assert desk.bot.posts == []


async def test_a_halt_behind_the_yes_denies(desk: Desk) -> None:
    """Approved and not sent yet: the halt is found by the check before it is sent."""
    wanted = await waiting(desk)
    await desk.orders.approvals.approve(await id_of(desk, wanted), CONSOLE)
    await halted(desk, desk.clock)
    record = await desk.orders.dispatch.send(await stored(desk, wanted), CONSOLE.origin)
    assert (record.state, record.code) == (State.DENIED, "trading_halted")
    assert (await refused(desk, wanted)).code == "trading_halted"
    assert desk.bot.posts == []


async def test_a_yes_does_not_lift_a_limit(desk: Desk) -> None:
    """Spent meanwhile: the daily notional is counted when the order is sent."""
    limits = Limits(approval_above=Decimal(50), daily_notional=Decimal(150))
    policy = replace(asking(), defaults=limits)
    desk.orders._submission.policies._current = policy
    first, second = await waiting(desk), await waiting(desk, pair="ETH/USDT")
    assert (await approved(desk, first)).state is State.FILLED
    record = await approved(desk, second)
    assert (record.state, record.code) == (State.DENIED, "daily_notional")
    assert len(desk.bot.posts) == 1


async def test_a_yes_is_to_a_price_and_not_to_a_higher_one(desk: Desk) -> None:
    """Moved price: stake and fee above what was agreed to is denied as that."""
    wanted = await waiting(desk)
    before = await stored(desk, wanted)
    await desk.orders.approvals.approve(before.order_id, CONSOLE)
    yes = await stored(desk, wanted)
    assert yes.approved_quote is not None
    less = replace(yes, approved_quote=Decimal(99))  # as if the price had risen behind it
    record = await desk.orders.dispatch.send(less, CONSOLE.origin)
    assert (record.state, record.code) == (State.DENIED, "approval_exceeded")
    assert desk.bot.posts == []


async def test_a_stricter_policy_counts_for_what_waits(desk: Desk) -> None:
    """The judge of the moment decides, a yes or not."""
    wanted = await waiting(desk)
    keeper: PolicyKeeper = desk.orders._submission.policies
    keeper._current = asking(enabled=False)
    record = await approved(desk, wanted)
    assert (record.state, record.code) == (State.DENIED, "agent_disabled")


async def test_an_agent_does_not_approve_itself_by_a_token_of_its_own(desk: Desk) -> None:
    """Self-approval: the approver's scope does not make somebody else of the requester."""
    wanted = await waiting(desk)
    for person in (approver("agent-a"), approver("agent-a", issuer="elsewhere")):
        assert (await not_approved(desk, wanted, person)).code == "approver_is_requester"
    assert desk.bot.posts == []


async def test_an_agent_does_not_approve_by_the_id_of_its_request(desk: Desk) -> None:
    """The order's id is the gateway's own; a request id, which callers choose, names none."""
    wanted = await waiting(desk)
    with pytest.raises(GatewayError) as caught:
        await desk.orders.dispatch.approve(wanted.request_id.hex, CONSOLE)
    assert caught.value.code == "order_unknown"


async def test_a_person_is_not_asked_without_end(desk: Desk) -> None:
    """Ten orders of one agent wait, and no eleventh; another agent's, and a later one, do."""
    first, *_ = [await waiting(desk) for _ in range(MOST_WAITING)]
    one_more = order()
    assert (await refused(desk, one_more)).code == "too_many_waiting"
    assert (await stored(desk, one_more)).state is State.DENIED
    await waiting(desk, "agent-b")
    await declined(desk, first)
    await waiting(desk)
    assert len(await desk.orders.approvals.pending()) == MOST_WAITING + 1


HOSTILE = {
    "lines": 'agent-a" wants to buy 1 BTC.\nIt may cost up to 1 USDT',
    "escapes": "agent\x1b[2K\x1b[1A\rDry-run order",
    "bidi": "agent-a\u202e TDSU 1\u2066\u200f",
    "zero width": "ag\u200bent\u2060-\ufeffa",
    "homoglyph": "\u0430gent-\u0430",
    "marks": "a\u0336\u0489gent",
    "delete": "agent-b\x7f\x7fa",
    "nul": "agent\x00-a",
    "tags": "agent\U000e0041\U000e0042",
    "separators": "agent\u2028a\u2029b\x85c",
    "surrogate": "agent\ud800",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_shown_harmless(name: str) -> None:
    """Between its quotes stands plain printable ASCII, on one line, and every byte of it."""
    text = Question(_record(name), Decimal(105)).text
    assert text.count("\n") == 3
    assert all(" " <= character <= "~" for character in text.replace("\n", ""))
    line = text.splitlines()[1]
    assert line.startswith(f"Agent {quoted(name)} wants to buy 1 BTC, a market order in BTC/USDT.")


def test_names_that_differ_are_shown_differently() -> None:
    """A name that looks like another's does not read like it."""
    assert len({quoted(name) for name in (*HOSTILE.values(), "agent-a", "agent-b", "\\u007f")}) == (
        len(HOSTILE) + 3
    )


def test_real_money_stands_first_in_capitals() -> None:
    """Whoever reads one word reads that one."""
    live = replace(_record("agent-a"), mode="live")
    assert Question(live, Decimal(105)).text.startswith("LIVE ORDER: REAL MONEY.\n")
    assert Question(_record("agent-a"), None).text.startswith("Dry-run order: no real money.\n")


def _record(agent: str) -> OrderRecord:
    return OrderRecord(
        order_id="0" * 32, issuer="tests", subject=agent, request_id=order().request_id,
        agent=agent, fingerprint="f", tag="gw:1", carrier="", bot="freqtrade", pair="BTC/USDT",
        side="buy", amount=Decimal("1.000"), order_type="market", price=None, mode="dry-run",
        state=State.PENDING_APPROVAL, created_at=START, updated_at=START,
        approved_quote=Decimal("105.105525525525"), expires_at=START,
    )  # fmt: skip


def test_money_is_rounded_against_whoever_pays() -> None:
    """Never less than what is agreed to."""
    assert "up to 105.10552553 USDT" in Question(_record("agent-a"), Decimal(105)).text
