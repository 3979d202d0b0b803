"""Ledger and bot, compared: silent after an ordinary day, and exact about everything else."""

from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from mcp_gateway.errors import BotUnavailable, GatewayError, OutcomeUnknown
from mcp_gateway.orders.evidence.comparison import MEANINGS, Comparison, compare
from mcp_gateway.orders.settling.settlement import Decision, settle
from tests.support.busybot import BusyBot
from tests.support.clock import ManualClock
from tests.support.desk import BOT, PAIR, Desk, admission, open_desk, order
from tests.support.review import executed_late, given_up, sold_and_forgotten
from tests.support.tradingbot import PRICE, TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OTHER = "ETH/USDT"


async def compared(desk: Desk) -> Comparison:
    return await compare(desk.ledger, desk.reconciler.bot, BOT)


async def kinds(desk: Desk) -> list[str]:
    """Return the words of all differences, each of which has a meaning."""
    found = (await compared(desk)).differences
    assert all(one.meaning == MEANINGS[one.kind] for one in found)
    return [one.kind for one in found]


async def create(desk: Desk, agent: str = "agent-a", **changes: Any) -> dict[str, Any]:
    return (await desk.orders.create(admission(agent), order(**changes))).answer


async def refused(desk: Desk, **changes: Any) -> str:
    with pytest.raises(GatewayError) as error:
        await create(desk, **changes)
    return error.value.code


async def test_after_an_ordinary_day_there_is_no_difference(desk: Desk) -> None:
    """Bought, sold in parts and wholly; rested, filled, cancelled; denied and rejected."""
    await create(desk)
    await create(desk, side="sell", amount="0.3")
    await create(desk, side="sell", amount="0.7")
    resting = await create(desk, order_type="limit", price="96")
    assert (await compared(desk)).differences == ()
    desk.bot.fill(resting["trade_id"], 0.4)
    await desk.follower.look()
    desk.bot.fill(resting["trade_id"])
    await desk.follower.look()
    wanted = order(side="sell", order_type="limit", price="120")
    await desk.orders.create(admission(), wanted)
    assert (await compared(desk)).differences == ()
    await desk.orders.cancel(admission(), wanted.request_id)
    forgotten = order(pair=OTHER, order_type="limit", price="96")
    await desk.orders.create(admission(), forgotten)
    await desk.orders.cancel(admission(), forgotten.request_id)
    partly = order(pair=OTHER, order_type="limit", price="96")
    desk.bot.fill((await desk.orders.create(admission(), partly)).answer["trade_id"], 0.4)
    await desk.orders.cancel(admission(), partly.request_id)
    assert await refused(desk, pair="XRP/USDT") == "pair_not_whitelisted"
    desk.bot.faults.append("refuse:Symbol does not exist or market is not active.")
    desk.bot.enter("SOL/USDT", "strategy")
    assert await refused(desk, side="sell", pair="SOL/USDT") == "position_not_yours"
    desk.bot._exit({"tradeid": desk.bot.status[-1]["trade_id"], "amount": 0.5})
    assert await compared(desk) == Comparison(9, 0, ())


async def test_an_order_that_is_being_found_out_is_told(desk: Desk) -> None:
    """With what the bot shows of an entry by its mark already."""
    desk.bot.faults.append("lose_done")
    with pytest.raises(OutcomeUnknown):
        await create(desk)
    # What the strategy buys in the same trade afterwards has no tag of its own.
    desk.bot.status[0]["orders"].append(desk.bot._order("buy", 0.5, True, None))
    [one] = (await compared(desk)).differences
    assert (one.kind, one.pair, one.trade_id) == ("unsettled", PAIR, 1)
    assert one.ledger is not None
    assert (one.ledger["state"], one.ledger["filled_amount"]) == ("unknown", 0.0)
    assert one.bot == {
        "bot_order_id": "order-1", "resting": False, "amount": 1.0, "filled_amount": 1.0,
        "average_price": PRICE,
    }  # fmt: skip


async def test_the_sell_that_an_unknown_exit_may_be_is_not_told_as_strange(desk: Desk) -> None:
    """One difference for one doubt."""
    await create(desk)
    desk.bot.faults.append("lose_done")
    with pytest.raises(OutcomeUnknown):
        await create(desk, side="sell", amount="0.5")
    [one] = (await compared(desk)).differences
    assert (one.kind, one.trade_id) == ("unsettled", 1)


async def test_what_waits_for_a_person_is_told(desk: Desk) -> None:
    """The exit, and the entry of the trade that was deleted with it."""
    waits = await sold_and_forgotten(desk)
    found = {one.kind: one for one in (await compared(desk)).differences}
    assert set(found) == {"needs_review", "missing_at_bot"}
    assert found["needs_review"].order_id == waits.order_id
    assert found["missing_at_bot"].bot is None


async def test_a_placed_order_that_the_bot_lost_is_told(desk: Desk) -> None:
    """As after a restored copy of the bot's database."""
    held = await create(desk)
    resting = await create(desk, pair=OTHER, order_type="limit", price="96")
    desk.bot.status.clear()
    found = (await compared(desk)).differences
    assert {(one.kind, one.order_id, one.trade_id) for one in found} == {
        ("missing_at_bot", held["order_id"], 1),
        ("missing_at_bot", resting["order_id"], 2),
    }


async def test_other_numbers_are_told_until_they_are_followed(desk: Desk) -> None:
    """A fill that nobody has seen yet."""
    resting = await create(desk, order_type="limit", price="96")
    desk.bot.fill(1, 0.25)
    [one] = (await compared(desk)).differences
    assert (one.kind, one.order_id) == ("numbers_differ", resting["order_id"])
    assert one.ledger is not None
    assert one.bot is not None
    assert (one.ledger["filled_amount"], one.bot["filled_amount"]) == (0.0, 0.25)
    await desk.follower.look()
    assert await kinds(desk) == []


@pytest.mark.parametrize("field", ["amount", "filled", "average", "order_id"])
async def test_each_number_of_an_order_counts(desk: Desk, field: str) -> None:
    """Amount, what is filled, its price, and which order at the bot it is."""
    await create(desk)
    [bought] = desk.bot.status[0]["orders"]
    bought[field] = "another" if field == "order_id" else bought[field] + 0.001
    assert await kinds(desk) == ["numbers_differ"]


async def test_an_order_that_came_true_after_all_is_told(desk: Desk) -> None:
    """Told as rejected, and in the bot's books: until the follower has seen it too."""
    record = await given_up(desk)
    assert await kinds(desk) == []
    desk.bot.take_effect()
    [one] = (await compared(desk)).differences
    assert (one.kind, one.order_id, one.trade_id) == ("executed_after_all", record.order_id, 1)
    await desk.follower.look()
    assert await kinds(desk) == ["needs_review"]


async def test_a_late_exit_is_told_as_nobodys(desk: Desk) -> None:
    """It has no mark of its own, so nothing ties it to the order that was given up."""
    await create(desk)
    desk.bot.faults.append("late")
    with pytest.raises(OutcomeUnknown):
        await create(desk, side="sell", amount="0.5")
    for _ in range(3):
        await desk.reconciler.resolve_all()
        desk.clock.advance(60)
    desk.bot.take_effect()
    assert await kinds(desk) == ["exit_not_in_ledger"]


async def test_a_tag_that_the_ledger_never_sent_is_told(desk: Desk) -> None:
    """Another gateway's entry and what was sold of it; the strategy's own trades are not."""
    desk.bot.enter(PAIR, "gw:of-another-ledger")
    desk.bot._exit({"tradeid": 1, "amount": 0.5})
    desk.bot.enter(OTHER, "strategy")
    entry, sold = (await compared(desk)).differences
    assert (entry.kind, entry.bot_order_id, entry.ledger) == ("not_in_ledger", "order-1", None)
    assert (sold.kind, sold.bot_order_id) == ("exit_not_in_ledger", "order-2")
    assert (sold.trade_id, sold.order_id) == (1, None)


@pytest.mark.parametrize("resting", [False, True], ids=["filled", "resting"])
async def test_a_sell_behind_the_gateways_back_is_told(desk: Desk, *, resting: bool) -> None:
    """Through the bot's own interface; the strategy's exits are the bot's daily work."""
    await create(desk)
    desk.bot._exit({"tradeid": 1, "amount": 0.25, "ordertype": "limit" if resting else "market"})
    [one] = (await compared(desk)).differences
    assert (one.kind, one.trade_id, one.ledger) == ("exit_not_in_ledger", 1, None)
    assert one.bot is not None
    assert (one.bot["amount"], one.bot["resting"]) == (0.25, resting)
    desk.bot.status[0]["orders"][-1]["ft_order_tag"] = "roi"
    assert await kinds(desk) == []


async def test_an_order_settled_by_word_is_no_difference(desk: Desk) -> None:
    """What a person found out at the exchange is not asked of the bot again."""
    waits = await sold_and_forgotten(desk)
    before = await kinds(desk)
    decision = {"finding": "placed", "reason": "4711 at the exchange", "filled": "1"}
    made = Decision.model_validate(decision)
    await settle(desk.ledger, desk.reconciler.bot, waits, made, "ann", bot_name=BOT)
    assert await kinds(desk) == [kind for kind in before if kind != "needs_review"]


async def test_an_order_settled_by_the_bots_numbers_is_no_difference(desk: Desk) -> None:
    """The contradiction is over once an operator has said so."""
    waits = await executed_late(desk)
    made = Decision.model_validate({"finding": "placed", "reason": "the bot holds it"})
    await settle(desk.ledger, desk.reconciler.bot, waits, made, "ann", bot_name=BOT)
    assert await kinds(desk) == []


async def test_a_restored_copy_of_the_ledger_lacks_what_came_after(tmp_path: Path) -> None:
    """Each order since the copy was made: entries by their tag, exits by their trade."""
    clock = ManualClock()
    bot = TradingBot(clock)
    file, copy = tmp_path / "gateway.sqlite", tmp_path / "copy"
    async with open_desk(tmp_path, bot, clock) as desk:
        await create(desk)
    copyfile(file, copy)
    async with open_desk(tmp_path, bot, clock) as desk:
        await create(desk, side="sell", amount="0.5")
        await create(desk, pair=OTHER)
        assert await kinds(desk) == []
    copyfile(copy, file)
    async with open_desk(tmp_path, bot, clock) as desk:
        found = (await compared(desk)).differences
    assert sorted((one.kind, one.pair) for one in found) == [
        ("exit_not_in_ledger", PAIR), ("not_in_ledger", OTHER),
    ]  # fmt: skip


async def test_an_order_that_moves_meanwhile_is_not_compared(tmp_path: Path) -> None:
    """The bot's word on it may be older than the ledger's: it is counted, not judged."""
    clock = ManualClock()
    bot = BusyBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        await create(desk)
        await create(desk, pair=OTHER, order_type="limit", price="96")

        async def filled_and_seen() -> None:
            bot.fill(2)
            await desk.follower.look()

        async def sold() -> None:
            await create(desk, side="sell", amount="0.5")

        bot.between.extend([filled_and_seen, sold])
        assert await compared(desk) == Comparison(1, 2, ())
        assert await compared(desk) == Comparison(3, 0, ())


async def test_a_bot_that_does_not_answer_is_no_difference(desk: Desk) -> None:
    """Nothing is concluded from silence."""
    await create(desk)
    desk.bot.fails = 500
    with pytest.raises(BotUnavailable):
        await compared(desk)
