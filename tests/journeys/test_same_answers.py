"""The same calls over every wire and language, before one real Freqtrade: one core, one gate.

What may differ is named here and nowhere else; everything else must be equal, field by field.
"""

import re
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.gateway import open_gateway
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.books import BotOrder, bot_orders, emptied
from tests.support.gateway import TRADER, settings_for
from tests.support.processes import Serving, before, environment, serving, token
from tests.support.records import audit_rows
from tests.support.wires import FAILED, Call, Told, in_memory, over_http, over_rest, over_stdio

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

PAIR = "ETH/USDT"
RESTING_PAIR, BELOW = "BTC/USDT", 0.97  # of the price: no second of trading reaches it
ORDER = {"pair": PAIR, "side": "buy", "amount": "0.1", "order_type": "market"}
FIRST = "in memory"
OTHERS = ("stdio", "http", "http legacy", "rest")
SERVED = ("http", "http legacy", "rest")
CHANNELS = {FIRST: "stdio", "stdio": "stdio", "http": "http", "http legacy": "http", "rest": "rest"}
READER_SCOPES = ("market:read",)

# New for each order, or told by the clock: only whether they are told is compared.
UNIQUE = {
    "id",
    "call_id",
    "order_id",
    "request_id",
    "bot_order_id",
    "trade_id",
    "sells_before",
    "trade_tag",
    "preview_id",
}
TIMES = {
    "timestamp",
    "at",
    "as_of",
    "age_s",
    "price_age_s",
    "open_date",
    "source",
    "server_time",
    "bot_started_at",
    "expires_at",
}
# What the market does between two wires. Receipts are held against the bot's database instead.
MARKET = {
    "amount", "filled_amount", "average_price", "fee", "entry_price", "current_price",
    "unrealized_pnl", "unrealized_pnl_pct", "stop_loss", "estimated_cost", "estimated_fee",
    "price", "limit", "value", "left", "quote", "requested_amount", "expected_amount",
    "worst_price", "worst_cost",
}  # fmt: skip


@dataclass(frozen=True)
class Walked:
    """What one wire answered and wrote down."""

    told: dict[str, Told]
    booked: list[BotOrder]
    refused: Told
    rows: list[dict[str, Any]]


async def walk(call: Call) -> dict[str, Told]:
    """Make every call of the journey; buys once and sells it again."""
    told: dict[str, Told] = {}

    async def step(name: str, tool: str, **arguments: Any) -> Told:
        told[name] = await call(tool, **arguments)
        return told[name]

    def fresh(**changes: Any) -> dict[str, Any]:
        return {**ORDER, "request_id": str(uuid.uuid4()), **changes}

    await step("candles", "get_candles", pair=PAIR, timeframe="5m", limit=50)
    await step("resampled", "get_candles", pair=PAIR, timeframe="1h", limit=5)
    await step("unknown pair", "get_candles", pair="NO/USDT", timeframe="5m", limit=5)
    await step("unknown timeframe", "get_candles", pair=PAIR, timeframe="7m", limit=5)
    await step("ill-formed pair", "get_candles", pair="no-usdt", timeframe="5m", limit=5)
    await step("ill-formed timeframe", "get_candles", pair=PAIR, timeframe="7x", limit=5)
    await step("no candles", "get_candles", pair=PAIR, timeframe="5m", limit=0)
    await step("a billion candles", "get_candles", pair=PAIR, timeframe="5m", limit=10**9)
    await step("unknown argument", "get_open_positions", wallet="mine")
    await step("nothing held", "get_open_positions")
    looked = await step("dry run", "dry_run_order", **fresh())
    seen = {"preview_id": looked["preview_id"]}
    await step("dry run of too much", "dry_run_order", **fresh(amount="1000"))
    await step("too much", "create_order", **fresh(amount="1000"))
    await step("nothing to sell", "create_order", **fresh(side="sell"))
    for amount in ("NaN", "1e999", "-1", True, "much"):
        await step(f"amount {amount}", "create_order", **fresh(amount=amount))
    await step("limit without price", "create_order", **fresh(order_type="limit"))
    await step("for another", "create_order", **fresh(agent="another-agent"))
    buy = fresh(**seen)
    bought = await step("bought", "create_order", **buy)
    await step("bought again", "create_order", **buy)
    await step("reused", "create_order", **{**buy, "amount": "0.2"})
    await step("preview again", "create_order", **fresh(**seen))
    await step("order", "get_order", request_id=buy["request_id"])
    await step("unknown order", "get_order", request_id=str(uuid.uuid4()))
    await rest_and_cancel(step, fresh, filled=buy["request_id"])
    await step("held", "get_open_positions", pair=PAIR)
    await step("sold", "create_order", **fresh(side="sell", amount=str(bought["amount"])))
    return told


async def rest_and_cancel(step: Call, fresh: Callable[..., dict[str, Any]], *, filled: str) -> None:
    """Take a limit order back that rests below the market, and try it with a filled one."""
    seen = await step("price", "dry_run_order", **fresh(pair=RESTING_PAIR, amount="0.001"))
    price = round(seen["price"] * BELOW, 2)
    resting = fresh(pair=RESTING_PAIR, amount="0.001", order_type="limit", price=price)
    mine = {"request_id": resting["request_id"]}
    await step("resting", "create_order", **resting)
    await step("resting order", "get_order", **mine)
    await step("cancelled", "cancel_order", **mine)
    await step("cancelled again", "cancel_order", **mine)
    await step("cancelled order", "get_order", **mine)
    await step("cancelled too late", "cancel_order", request_id=filled)
    await step("unknown cancel", "cancel_order", request_id=str(uuid.uuid4()))


async def refused(call: Call) -> Told:
    """Order without the scope for it."""
    return await call("create_order", **ORDER, request_id=str(uuid.uuid4()))


@dataclass(frozen=True)
class Visit:
    """One wire's answers, and the bot's own orders right after them."""

    told: dict[str, Told]
    booked: list[BotOrder]
    refused: Told


async def visited(
    bot: Sandbox,
    trader: AbstractAsyncContextManager[Call],
    reader: AbstractAsyncContextManager[Call],
) -> Visit:
    """Walk over one wire, before a bot that has no trade, as one that may and one that may not."""
    emptied(bot)
    async with trader as call:
        told = await walk(call)
    booked = bot_orders(bot.database)
    async with reader as call:
        return Visit(told, booked, await refused(call))


@pytest.fixture(scope="module")
async def walks(real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Walked]:
    """Every wire's answers and audit rows; each store is read after its gateway has ended."""
    new = tmp_path_factory.mktemp
    told = {
        FIRST: await walked_in_memory(new("memory"), real_bot),
        "stdio": await walked_over_stdio(new("stdio"), real_bot),
        **await walked_over_http(new("serve"), real_bot),
    }
    emptied(real_bot)
    return told


async def walked_in_memory(folder: Path, bot: Sandbox) -> Walked:
    settings = settings_for(
        folder,
        freqtrade_url=bot.freqtrade_url,
        freqtrade_username=bot.freqtrade_username,
        freqtrade_password=bot.freqtrade_password,
        policy=bot.policy,
    )
    async with open_gateway(settings) as gateway:
        trader, reader = in_memory(gateway, token()), in_memory(gateway, token(*READER_SCOPES))
        visit = await visited(bot, trader, reader)
    return walked(visit, await rows_in(folder))


async def walked_over_stdio(folder: Path, bot: Sandbox) -> Walked:
    env = environment(folder, **before(bot), MCP_GATEWAY_TOKEN=token())
    reading = env | {"MCP_GATEWAY_TOKEN": token(*READER_SCOPES)}
    visit = await visited(bot, over_stdio(folder, env), over_stdio(folder, reading))
    return walked(visit, await rows_in(folder / "data"))


async def walked_over_http(folder: Path, bot: Sandbox) -> dict[str, Walked]:
    visits = {}
    with serving(folder, **before(bot)) as served:
        for wire in SERVED:
            reader = over(wire, served, token(*READER_SCOPES))
            visits[wire] = await visited(bot, over(wire, served, token()), reader)
    rows = await rows_in(served.data_dir)
    # The wires of one server share its log; each visit ends with the reader's refusal.
    refusals = [row for row in rows if row["event"] == "call.refused"]
    orders = [row for row in rows if row not in refusals]
    ends = [place for place, row in enumerate(refusals, 1) if row["code"] == "scope_missing"]
    parts = [refusals[start:end] for start, end in pairwise([0, *ends])]
    return {
        wire: walked(visit, orders + part)
        for (wire, visit), part in zip(visits.items(), parts, strict=True)
    }


def over(wire: str, served: Serving, shown: str) -> AbstractAsyncContextManager[Call]:
    """Open one of the wires of an HTTP server."""
    if wire == "rest":
        return over_rest(served.rest_url, shown)
    return over_http(served.mcp_url, shown, "legacy" if wire == "http legacy" else "auto")


async def rows_in(data_dir: Path) -> list[dict[str, Any]]:
    """Return the audit log of a gateway that has ended, less the making of its store.

    Orders first, then what was refused: those rows are written a moment later.
    """
    rows = await anyio.to_thread.run_sync(audit_rows, data_dir)
    told = [row for row in rows if row["event"] != "store.upgraded"]
    return sorted(told, key=lambda row: str(row["event"]) == "call.refused")


def walked(visit: Visit, rows: list[dict[str, Any]]) -> Walked:
    """Join a wire's answers with the audit rows that are about them."""
    orders = {told["request_id"] for told in visit.told.values() if "request_id" in told}
    own = [row for row in rows if row.get("request_id") in {None, *orders}]
    return Walked(visit.told, visit.booked, visit.refused, own)


def comparable(document: Any, name: str = "") -> Any:
    """Return a document with all that may differ replaced by whether it is told."""
    if name in UNIQUE | TIMES | MARKET:
        return None if document is None else "…"
    if isinstance(document, dict):
        return {key: comparable(value, key) for key, value in document.items()}
    if isinstance(document, list):
        return [comparable(value) for value in document]
    if isinstance(document, str):
        return re.sub(r"\d+ s old", "… s old", document)
    return document


STEPS = (
    "unknown pair", "unknown timeframe", "ill-formed pair", "ill-formed timeframe", "no candles", "a billion candles", "unknown argument",
    "nothing held", "dry run", "preview again", "dry run of too much", "too much", "nothing to sell",
    "amount NaN", "amount 1e999", "amount -1", "amount True", "amount much",
    "limit without price", "for another", "bought", "bought again", "reused", "order",
    "unknown order", "price", "resting", "resting order", "cancelled", "cancelled again",
    "cancelled order", "cancelled too late", "unknown cancel", "held", "sold",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wire", OTHERS)
async def test_every_wire_answers_as_the_first_one(
    walks: dict[str, Walked], wire: str, step: str
) -> None:
    """Field by field, failures too: code, message, hint and whether to try again."""
    assert comparable(walks[wire].told[step]) == comparable(walks[FIRST].told[step])


@pytest.mark.parametrize("wire", OTHERS)
@pytest.mark.parametrize("step", ["candles", "resampled"])
async def test_every_wire_tells_the_same_candles(
    walks: dict[str, Walked], wire: str, step: str
) -> None:
    """MCP tells columns and rows, REST the predecessor's list of objects; the numbers agree."""
    first, other = by_time(walks[FIRST].told[step]), by_time(walks[wire].told[step])
    shared = first.keys() & other.keys()
    assert len(shared) >= len(first) - 1  # a candle may have closed in between
    assert {time: first[time] for time in shared} == {time: other[time] for time in shared}
    for name in ("pair", "timeframe", "count", FAILED):
        assert walks[wire].told[step][name] == walks[FIRST].told[step][name]
    resampled_from = "5m" if step == "resampled" else None
    assert walks[wire].told[step].get("resampled_from") == resampled_from


def by_time(told: Told) -> dict[int, list[float]]:
    """Return candles by the Unix second at which they opened."""
    if "candles" in told:
        names = ("open", "high", "low", "close", "volume")
        return {one["timestamp"]: [one[name] for name in names] for one in told["candles"]}
    assert told["columns"] == ["open", "high", "low", "close", "volume"]
    start = int(datetime.fromisoformat(told["start"]).timestamp())
    return {start + place * told["step_s"]: row for place, row in enumerate(told["rows"])}


@pytest.mark.parametrize("wire", CHANNELS)
async def test_a_receipt_tells_what_the_bot_has_booked(walks: dict[str, Walked], wire: str) -> None:
    """One buy and one sale for each wire, with the amounts, prices and ids of the bot's own."""
    told = walks[wire].told
    assert told["bought"]["requested_amount"] == 0.1
    assert told["bought again"] == told["bought"]
    assert told["sold"]["requested_amount"] == told["bought"]["amount"]
    booked = [
        BotOrder(
            side=receipt["side"], order_id=receipt["bot_order_id"],
            trade_id=receipt["trade_id"], filled=receipt["filled_amount"],
            average=receipt["average_price"],
        )
        for receipt in (told["bought"], told["sold"])
    ]  # fmt: skip
    assert walks[wire].booked == booked


@pytest.mark.parametrize("wire", CHANNELS)
async def test_a_resting_order_is_taken_back(walks: dict[str, Walked], wire: str) -> None:
    """cancel_order answers as get_order does, after the cancel, and once."""
    told = walks[wire].told
    assert told["resting order"]["status"] == "submitted"
    assert (told["cancelled"]["status"], told["cancelled"]["filled_amount"]) == ("cancelled", 0)
    assert told["cancelled again"] == told["cancelled"]
    assert told["cancelled order"] == told["cancelled"]
    assert told["cancelled too late"]["code"] == "order_not_resting"
    assert told["unknown cancel"]["code"] == "order_unknown"


@pytest.mark.parametrize("wire", CHANNELS)
async def test_every_wire_leaves_the_same_audit_rows(walks: dict[str, Walked], wire: str) -> None:
    """An order's rows tell its life and where it came from; so does every refusal."""
    rows = walks[wire].rows
    assert {row["channel"] for row in rows} == {CHANNELS[wire]}
    assert {(row["issuer"], row["subject"]) for row in rows} == {("mcp-gateway", TRADER)}
    assert lives(rows) == LIVES
    keys = {
        row.get("detail", {}).get("key_id") for row in rows if row["event"].startswith("order.")
    }
    assert keys == {TRADER if wire in SERVED else None}
    first = [without_channel(row) for row in walks[FIRST].rows]
    assert [without_channel(row) for row in rows] == first


PLACED = [(f"order.{step}", None) for step in ("received", "reserved", "sent", "placed")]
FILLED = [*PLACED, ("order.filled", None)]
REFUSED = (
    "pair_unknown", "timeframe_unknown", *11 * ["request_invalid"], "agent_not_allowed",
    "idempotency_conflict", "preview_used", "order_unknown", "order_not_resting", "order_unknown", "scope_missing",
)  # fmt: skip
LIVES = [
    ("order.received", None),
    ("order.denied", "notional_too_large"),
    ("order.received", None),
    ("order.denied", "nothing_to_sell"),
    *FILLED,
    *PLACED,
    ("order.placed", "cancel_asked"),
    ("order.cancelled", "cancel_asked"),
    *FILLED,
    *[("call.refused", code) for code in REFUSED],
]


def lives(rows: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Return what the rows tell, in a few words."""
    return [(row["event"], row.get("code")) for row in rows]


def without_channel(row: dict[str, Any]) -> Any:
    """Return a row as every wire must leave it: where it came from is its own."""
    detail = {
        key: value for key, value in row.get("detail", {}).items() if key not in {"key_id", "jti"}
    }
    left = {key: value for key, value in row.items() if key != "channel"}
    return comparable(left | {"detail": detail})


@pytest.mark.parametrize("wire", CHANNELS)
async def test_a_missing_scope_is_refused_alike(walks: dict[str, Walked], wire: str) -> None:
    """The gate says no before the order is looked at, and names the scope."""
    told = walks[wire].refused
    assert (told["code"], told["scope"], told[FAILED]) == ("scope_missing", "orders:create", True)
    assert told == walks[FIRST].refused


async def test_reads_are_written_where_the_operator_wants_them(
    real_bot: Sandbox, tmp_path: Path
) -> None:
    """MCP_GATEWAY_AUDIT_READS=true: each admitted read is a row too, over every language."""
    with serving(tmp_path, **before(real_bot), MCP_GATEWAY_AUDIT_READS="true") as served:
        for wire in SERVED:
            async with over(wire, served, token()) as call:
                await call("get_open_positions")
                await call("get_candles", pair=PAIR, timeframe="5m", limit=0)
    rows = await rows_in(served.data_dir)
    read = [row for row in rows if row["event"] == "call.read" and row["operation"] != "list"]
    assert [(row["event"], row["channel"], row["operation"]) for row in read] == [
        ("call.read", CHANNELS[wire], operation)
        for wire in SERVED
        for operation in ("get_open_positions", "get_candles")
    ]
