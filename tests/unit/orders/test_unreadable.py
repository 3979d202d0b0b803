"""A trade of which the bot tells nonsense: nothing is concluded from it, and nobody else waits."""

from decimal import Decimal

import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.orders.evidence.comparison import compare
from tests.support.desk import BOT, Desk, admission, lost, order, refused, rested, stored

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def looked(desk: Desk) -> None:
    desk.clock.advance(5)
    await desk.follower.look()


@pytest.mark.parametrize(
    "odd",
    [{"filled": -5}, {"filled": None, "is_open": False, "status": "closed"},
     {"amount": None, "is_open": False}, {"order_id": None}],
    ids=str,
)  # fmt: skip
async def test_an_order_stays_as_it_is_until_its_numbers_make_sense(
    desk: Desk, odd: dict[str, object]
) -> None:
    """A fill below nothing, or a cancel that was none, would be told for good."""
    wanted = await rested(desk)
    told = desk.bot.status[0]["orders"][0]
    sound = dict(told)
    told |= odd
    await looked(desk)
    record = await stored(desk, wanted)
    assert (record.state, record.filled_amount) == (State.PLACED, Decimal(0))
    told |= sound
    desk.bot.fill(1)
    await looked(desk)
    record = await stored(desk, wanted)
    assert (record.state, record.filled_amount) == (State.FILLED, Decimal(1))


async def test_an_entry_is_not_missing_while_a_trade_can_not_be_read(desk: Desk) -> None:
    """It may be that one: absence is proven by books that can be read."""
    wanted = await lost(desk, "lose_done")
    told = desk.bot.status[0]
    told["trade_id"] = 2**70
    for _ in range(5):
        await desk.reconciler.resolve_all()
        desk.clock.advance(60)
    assert (await stored(desk, wanted)).state is State.UNKNOWN
    told["trade_id"] = 1
    await desk.reconciler.resolve_all()
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_an_answer_that_makes_no_sense_leaves_an_order_unknown(desk: Desk) -> None:
    """An id that no database holds must not end the gateway behind the order."""
    opened = desk.bot._open

    def absurd(body: dict[str, object], amount: float) -> dict[str, object]:
        return opened(body, amount) | {"trade_id": 2**70}

    desk.bot._open = absurd  # type: ignore[method-assign]  # the bot's word alone is changed
    wanted = order()
    assert (await refused(desk, wanted)).code == "outcome_unknown"
    assert (await stored(desk, wanted)).code == "bot_nonsense"
    await desk.reconciler.resolve_all()
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_an_exit_goes_though_precision_and_another_trade_make_no_sense(desk: Desk) -> None:
    """What is held can be sold, whatever else the bot says."""
    await desk.orders.create(admission(), order())
    await desk.orders.create(admission("agent-b"), order(pair="ETH/USDT"))
    mine, theirs = desk.bot.status
    mine |= {"amount_precision": 1e9, "precision_mode": 2}
    theirs["orders"][0]["filled"] = -5
    sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["status"] == "filled"


async def test_an_entry_finds_the_pair_held_by_a_trade_that_can_not_be_read(desk: Desk) -> None:
    """It is there, whatever its numbers are."""
    await desk.orders.create(admission(), order())
    desk.bot.status[0]["orders"][0]["filled"] = -5
    assert (await refused(desk, order(), "agent-b")).code == "position_exists"


async def test_books_that_can_not_be_read_are_not_compared(desk: Desk) -> None:
    """Every order of that trade would be called missing."""
    await desk.orders.create(admission(), order())
    desk.bot.status[0]["orders"][0]["filled"] = -5
    with pytest.raises(BotUnavailable) as refused_books:
        await compare(desk.ledger, desk.reconciler.bot, BOT)
    assert refused_books.value.code == "bot_nonsense"
