"""One case run to its end, and every word that was told compared with the bot's books."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcp_gateway.domain.answers import Unanswered
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import GatewayError
from tests.proofs.wire.cases import CANCELS, LATEST_EFFECT, LOST, Case
from tests.proofs.wire.floor import Floor, floor
from tests.support.desk import admission, order
from tests.support.standin import StandIn
from tests.support.tradingbot import TradingBot

Told = dict[str, Any]
# Virtual seconds between two looks, and how many looks there may be: far beyond the quiet
# time after which an absence counts, and within it for what comes late.
LOOK_S: Final = 8.0
MOST_LOOKS: Final = 40


@dataclass
class Verdict:
    """What was told first, what it came to, and what is wrong with that."""

    case: Case
    told: str = ""
    settled: str = ""
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a violation unless something holds."""
        if not holds:
            self.violations.append(otherwise)


async def prove(case: Case, standing: StandIn, port: int, folder: Path) -> Verdict:
    """Run one case to its end and judge it."""
    verdict = Verdict(case)
    async with floor(case, standing, port, folder) as stage:
        await (_prove_cancel if case.kind in CANCELS else _prove_order)(stage, verdict)
        verdict.expect(stage.proxy.struck == [case.fault], "the fault never struck")
    return verdict


async def _prove_order(stage: Floor, verdict: Verdict) -> None:
    """Send one order and ask for it until it is final, then send it again."""
    wanted = await _wanted(stage)
    before = {one["order_id"] for one in _books(stage.bot)}
    stage.strike()

    async def create() -> Told:
        return (await stage.desk.orders.create(admission(), wanted)).answer

    told = [await _told(create)]
    told += await _until_final(stage, wanted)
    told.append(await _told(create))
    effects = [one for one in _books(stage.bot) if one["order_id"] not in before]
    verdict.told, verdict.settled = told[0]["outcome"], told[-1]["outcome"]
    verdict.expect(len(stage.proxy.orders) == 1, f"sent {len(stage.proxy.orders)} times")
    _judge_words(verdict, [one["outcome"] for one in told], bool(effects))
    _judge_effects(verdict, told, effects)


def _judge_words(verdict: Verdict, words: list[str], happened: bool) -> None:
    """A word may be unknown; what is told otherwise is what the books say, and stays."""
    right = "placed" if happened else "rejected"
    verdict.expect({*words} <= {"unknown", right}, f"books say {right}, told {set(words)}")
    verdict.expect(words[-1] == right, f"books say {right}, told {words[-1]} in the end")
    known = [word != "unknown" for word in words]
    verdict.expect(known == sorted(known), "what was known became unknown")
    at_once = verdict.case.is_told_at_once
    verdict.expect(known[0] == at_once, f"told {words[0]} first")


def _judge_effects(verdict: Verdict, told: list[Told], effects: list[Told]) -> None:
    """One order in the books at most, and the ids and amounts that were told are its own."""
    verdict.expect(len(effects) <= 1, f"{len(effects)} effects")
    verdict.expect(bool(effects) != (verdict.case.fault in LOST), "the fault did not do its work")
    for effect in effects:
        right = (effect["order_id"], effect["amount"], effect["filled"])
        for one in told:
            if one["outcome"] == "placed":
                numbers = (one["bot_order_id"], one["amount"], one["filled_amount"])
                verdict.expect(numbers == right, f"books say {right}, told {numbers}")


async def _prove_cancel(stage: Floor, verdict: Verdict) -> None:
    """Cancel what rests, once, and read from the bot what came of it."""
    trade_id = _resting(stage)
    stage.strike()
    async with stage.bot.client() as client:
        answer = await client.cancel(trade_id)
        await stage.late_effect(stage.case.late_by)
        trade = await _read(lambda: client.trade(trade_id))
    rests = trade is not None and any(one.is_open for one in trade.orders)
    verdict.told = "unknown" if isinstance(answer, Unanswered) else type(answer).__name__.lower()
    verdict.settled = "rests" if rests else "cancelled"
    first = "accepted" if stage.case.is_told_at_once else "unknown"
    verdict.expect(verdict.told == first, f"told {verdict.told} first")
    verdict.expect(rests == (stage.case.fault in LOST), f"in the bot's books it {verdict.settled}")
    verdict.expect(len(stage.proxy.orders) == 1, f"sent {len(stage.proxy.orders)} times")
    held = 0.0 if stage.case.kind == "cancel entry" else 1.0
    verdict.expect(sum(one["amount"] for one in stage.bot.status) == held, "a position changed")


async def _wanted(stage: Floor) -> OrderRequest:
    """Return the order of the case, for which an exit first gets something to sell."""
    if stage.case.kind == "market entry":
        return order()
    if stage.case.kind == "limit entry":
        return order(order_type="limit", price="99")
    bought = await stage.desk.orders.create(admission(), order(amount="2"))
    if bought.answer["outcome"] != "placed":
        raise AssertionError("the entry before the exit failed")
    if stage.case.kind == "limit exit":
        return order(side="sell", amount="2", order_type="limit", price="101")
    return order(side="sell", amount="2" if stage.case.kind == "full exit" else "0.5")


def _resting(stage: Floor) -> int:
    """Let an order rest at the bot and return its trade."""
    leaves = stage.case.kind == "cancel exit"
    stage.bot.enter("BTC/USDT", "gw:resting", filled=leaves)
    trade_id = int(stage.bot.status[0]["trade_id"])
    if leaves:
        stage.bot._exit({"tradeid": trade_id, "ordertype": "limit", "price": 101.0})
    return trade_id


async def _until_final(stage: Floor, wanted: OrderRequest) -> list[Told]:
    """Return what an agent is told who asks again and again while virtual time passes."""

    async def get() -> Told:
        return await stage.desk.orders.get(admission(), wanted.request_id)

    told: list[Told] = []
    for look in range(1, MOST_LOOKS):
        await stage.late_effect(look)
        told.append(await _told(get))
        if told[-1]["outcome"] != "unknown" and look > LATEST_EFFECT:
            break
        stage.desk.clock.advance(LOOK_S)
    return told


async def _told(call: Callable[[], Awaitable[Told]]) -> Told:
    """Return an order's answer, whether it came as a receipt or as an error."""
    try:
        return await call()
    except GatewayError as error:
        return error.public()


async def _read(call: Callable[[], Awaitable[Any]]) -> Any:
    """Read from the bot, whose first answers may get lost."""
    try:
        return await call()
    except GatewayError:
        return await call()


def _books(bot: TradingBot) -> list[Told]:
    """Return every order in the bot's books."""
    return [one for trade in (*bot.status, *bot.closed) for one in trade["orders"]]
