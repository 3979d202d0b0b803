"""An order that brings a preview_id along: held to what was seen, let through once."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.sending.seals import LASTS_S
from mcp_gateway.risk.policy import Limits, Policy
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order, refused, stored
from tests.support.policy import POLICY
from tests.support.previews import failed, known, placed, preview_id, refused_with
from tests.support.tradingbot import PRICE, TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

DRY_RUN = admission(operation="dry_run_order")
PRICE_FORGOTTEN_S = 3.0  # what the bot has told of its candles is kept for two


def with_limits(**limits: Any) -> Policy:
    return replace(POLICY, defaults=Limits(**limits))


def floor(
    folder: Path, bot: TradingBot, clock: ManualClock, **limits: Any
) -> AbstractAsyncContextManager[Desk]:
    """Open a desk with other limits over the same store."""
    return open_desk(folder, bot, clock, policy=with_limits(**limits))


@pytest.fixture
async def careful(tmp_path: Path, bot: TradingBot, clock: ManualClock) -> AsyncIterator[Desk]:
    """A desk whose policy wants a preview of every entry."""
    async with floor(tmp_path, bot, clock, preview_required=True) as desk:
        yield desk


async def test_an_order_with_its_preview_is_placed(desk: Desk) -> None:
    """The ledger notes which dry run it was seen in."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    created = await placed(desk, wanted, preview)
    assert created.answer["outcome"] == "placed"
    record = await stored(desk, wanted)
    assert record.preview_id == desk.orders._intake.seals.open(preview, record).preview_id


async def test_a_preview_lets_one_order_through(desk: Desk) -> None:
    """A second one needs a look of its own; its request_id stays unused."""
    wanted, again = order(amount="0.1"), order(amount="0.1")
    preview = await preview_id(desk, wanted)
    await placed(desk, wanted, preview)
    error = await refused_with(desk, again, preview)
    assert error.code == "preview_used"
    assert not await known(desk, again)
    assert len(desk.bot.posts) == 1


async def test_a_denied_order_has_used_its_preview_up(desk: Desk) -> None:
    """Single use means that no second try hides behind the same look."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    desk.bot.state = "stopped"
    assert (await refused_with(desk, wanted, preview)).code == "bot_not_running"
    desk.bot.state = "running"
    assert (await refused_with(desk, order(), preview)).code == "preview_used"


async def test_a_repeated_request_replays_whatever_its_preview_is_by_now(desk: Desk) -> None:
    """The ledger is asked first: used, expired, altered, another's or none."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    first = await placed(desk, wanted, preview)
    desk.clock.advance(LASTS_S + 1)
    for shown in (preview, "altered", await preview_id(desk, order(pair="ETH/USDT")), None):
        again = await placed(desk, wanted, shown)
        assert (again.replayed, again.answer) == (True, first.answer)
    assert len(desk.bot.posts) == 1


async def test_a_request_id_of_another_order_is_told_before_its_preview(desk: Desk) -> None:
    """The preview fits the new order; the request_id stands for the old one."""
    wanted = order()
    await placed(desk, wanted, None)
    other = order(request_id=wanted.request_id, pair="ETH/USDT")
    error = await refused_with(desk, other, await preview_id(desk, other))
    assert error.code == "idempotency_conflict"


async def test_twins_with_one_preview_are_one_order(desk: Desk) -> None:
    """The same request twice at once: the second waits for the first, as without a preview."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    told = []

    async def once() -> None:
        told.append(await placed(desk, wanted, preview))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(once)
    assert len({one.answer["order_id"] for one in told}) == 1
    assert sorted(one.replayed for one in told) == [False, *7 * [True]]
    assert len(desk.bot.posts) == 1


async def test_one_preview_and_many_orders_at_once_is_one_order(desk: Desk) -> None:
    """Whoever writes it down first has it; the others are refused before they are orders."""
    several = [order(amount="0.1") for _ in range(8)]
    preview = await preview_id(desk, several[0])
    codes: list[str] = []

    async def send(one: Any) -> None:
        try:
            created = await placed(desk, one, preview)
            codes.append(created.answer["outcome"])
        except Exception as error:  # noqa: BLE001 - a refusal of ours has a code, a bug has none
            codes.append(getattr(error, "code", repr(error)))

    async with anyio.create_task_group() as group:
        for one in several:
            group.start_soon(send, one)
    assert sorted(codes) == ["placed", *7 * ["preview_used"]]
    assert sum([await known(desk, one) for one in several]) == 1


@pytest.mark.parametrize(
    ("moved", "told"),
    [(1.0099, "placed"), (1.01, "placed"), (1.0101, "price_moved"), (0.9899, "price_moved")],
    ids=["within", "at", "above", "below"],
)
async def test_a_market_order_is_held_to_the_price_that_was_seen(
    desk: Desk, moved: float, told: str
) -> None:
    """A hundredth either way, unless the policy says otherwise."""
    wanted = order(amount="0.1")
    preview = await preview_id(desk, wanted)
    desk.bot.last_price = PRICE * moved
    desk.clock.advance(PRICE_FORGOTTEN_S)
    if told == "placed":
        assert (await placed(desk, wanted, preview)).answer["outcome"] == told
        return
    error = await refused_with(desk, wanted, preview)
    assert error.code == told
    assert failed(error) == {"rule": told, "limit": "1", "value": "1.01"}
    assert desk.bot.posts == []


async def test_a_limit_order_has_its_own_price(desk: Desk) -> None:
    """The market may go where it likes: what it costs was seen."""
    wanted = order(amount="0.1", order_type="limit", price="99")
    preview = await preview_id(desk, wanted)
    desk.bot.last_price = PRICE * 1.03
    desk.clock.advance(PRICE_FORGOTTEN_S)
    assert (await placed(desk, wanted, preview)).answer["outcome"] == "placed"


async def test_an_order_is_held_to_the_policy_that_was_seen(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Even one that has become wider: what the agent was told is no longer so."""
    wanted = order()
    async with floor(tmp_path, bot, clock) as desk:
        preview = await preview_id(desk, wanted)
    async with floor(tmp_path, bot, clock, order_notional=Decimal(5000)) as desk:
        error = await refused_with(desk, wanted, preview)
        policy = desk.reconciler.submission.policies.current.hash
    assert error.code == "policy_changed"
    assert "Call dry_run_order again" in error.hint
    assert failed(error)["limit"] == policy
    assert bot.posts == []


async def test_a_preview_is_opened_by_every_replica(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """One looks, another places: they share the key, and the ledger."""
    wanted = order()
    async with floor(tmp_path, bot, clock) as desk:
        preview = await preview_id(desk, wanted)
    async with floor(tmp_path, bot, clock) as desk:
        assert (await placed(desk, wanted, preview)).answer["outcome"] == "placed"


async def test_what_is_spent_since_the_preview_denies(desk: Desk) -> None:
    """A preview reserves nothing: the order is checked anew."""
    desk.bot.max_open_trades = 1
    wanted = order()
    preview = await preview_id(desk, wanted)
    await placed(desk, order(pair="ETH/USDT"), None)
    assert (await refused_with(desk, wanted, preview)).code == "no_free_slot"


async def test_an_entry_without_a_preview_is_denied_where_one_is_required(careful: Desk) -> None:
    """The dry run says so, and is the way out."""
    assert (await refused(careful, order())).code == "preview_required"
    wanted = order()
    told = await careful.orders.preview(DRY_RUN, wanted)
    assert told.valid
    assert any("preview_id" in warning for warning in told.warnings)
    assert (await placed(careful, wanted, told.preview_id)).answer["outcome"] == "placed"


async def test_an_exit_needs_no_preview(careful: Desk) -> None:
    """Exits are never trapped by a rule of entries."""
    wanted = order()
    await placed(careful, wanted, await preview_id(careful, wanted))
    sold = await placed(careful, order(side="sell"), None)
    assert sold.answer["outcome"] == "placed"


async def test_an_exit_with_a_preview_is_held_by_neither_price_nor_policy(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """It shows what it was seen in, and goes out though both have changed since."""
    sell = order(side="sell")
    async with floor(tmp_path, bot, clock) as desk:
        await placed(desk, order(), None)
        preview = await preview_id(desk, sell)
    bot.last_price = PRICE * 1.2
    clock.advance(PRICE_FORGOTTEN_S)
    async with floor(tmp_path, bot, clock, order_notional=Decimal(1)) as desk:
        assert (await placed(desk, sell, preview)).answer["outcome"] == "placed"


async def test_a_preview_that_does_not_open_refuses_an_exit_too_and_says_how_to_go_on(
    desk: Desk,
) -> None:
    """Whoever shows one wants to be held to it; a sell without one is always let in."""
    await placed(desk, order(), None)
    error = await refused_with(desk, order(side="sell"), "altered")
    assert error.code == "preview_invalid"
    assert "a sell needs none" in error.hint


async def test_what_a_person_approves_needs_no_second_preview(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """It was let in with one; by the time a person has looked, that one has expired."""
    limits = {"preview_required": True, "approval_above": Decimal(50)}
    wanted = order()
    async with floor(tmp_path, bot, clock, **limits) as desk:
        preview = await preview_id(desk, wanted)
        held = await placed(desk, wanted, preview)
        assert held.answer["outcome"] == "pending_approval"
        record = await stored(desk, wanted)
        desk.clock.advance(LASTS_S + 1)
        again = await placed(desk, wanted, preview)
        assert (again.replayed, again.answer["order_id"]) == (True, record.order_id)
        person = Actor.operating("operator", "approve_order")
        sent = await desk.orders.dispatch.approve(record.order_id, person)
    assert (sent.state, len(bot.posts)) == (State.FILLED, 1)


async def test_a_store_that_does_not_answer_is_no_reason_to_look_at_the_preview(
    desk: Desk,
) -> None:
    """Whether the request_id is known comes first; nothing is sent without an answer to that."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    await desk.store.close()
    with pytest.raises(StoreUnavailable):
        await placed(desk, wanted, preview)
    assert desk.bot.posts == []
