"""The tools' arguments: what is let in, and what is refused by the name of its field."""

import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from mcp.types import CallToolResult

from tests.support.mcpserver import ERAS, PAIR, Era, an_order, connected

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
CANARY = "canary-Zz9"
HUGE = CANARY + "x" * 100_000
Case = tuple[str, dict[str, Any], str]  # tool, arguments, the field at fault


def each(tool: str, field: str, plain: dict[str, Any], *values: Any) -> list[Case]:
    """Return a case for each value that a field of a call must not have."""
    return [(tool, plain | {field: value}, field) for value in values]


def candles(**changes: Any) -> dict[str, Any]:
    return {"pair": PAIR, "timeframe": "5m"} | changes


def a_limit_order(**changes: Any) -> dict[str, Any]:
    return an_order(order_type="limit", price=100) | changes


REFUSED: list[Case] = [
    *each(
        "get_candles", "limit", candles(),
        "3", 3.0, True, 0, -1, 10**9, None, math.nan, math.inf, 1001, 10**400, [], {},
    ),
    *each(
        "get_candles", "pair", candles(),
        "btc/usdt", "BTCUSDT", "BTC/USDT\n", "BTC%2FUSDT", "../status", "", 5, None, HUGE,
    ),
    *each("get_candles", "timeframe", candles(), "5 m", "5M", "", 5, True, HUGE),
    *each(
        "get_candles", "before", candles(),
        "yesterday", True, 10**18, -(10**18), 0, "1970-01-01", "9999-12-31",
    ),
    *each("get_candles", "use_cache", candles(), "yes", 1, 0),
    *each("get_candles", "use_cach", candles(), False),
    *each("get_candles", "admission", candles(), CANARY),
    ("get_candles", {"timeframe": "5m"}, "pair"),
    *each("get_open_positions", "pair", {}, "btc/usdt"),
    *each("get_open_positions", "Pair", {}, PAIR),
    *each("get_account", "agent", {}, CANARY),
    *each("get_order", "request_id", {}, CANARY, 7, HUGE),
    ("get_order", {}, "request_id"),
    *each("cancel_order", "request_id", {}, CANARY, 7, HUGE),
    *each("cancel_order", "agent", {"request_id": an_order()["request_id"]}, CANARY),
    ("cancel_order", {}, "request_id"),
    *each(
        "create_order", "amount", an_order(),
        "1e999", 1e999, -1e999, math.nan, "NaN", "Infinity", -1, "-0.5", 0, "0", "0.0", True,
        False, None, "null", "", " 1", "1 ", "0x1", "1,5", "1e-19", 10**16, [], {}, ["1"], HUGE,
    ),
    *each(
        "create_order", "price", a_limit_order(),
        "null", None, 0, -1, True, "1e999", math.nan, HUGE,
    ),
    *each("create_order", "price", an_order(), 100, "100"),
    ("create_order", an_order(order_type="limit"), "price"),
    *each("create_order", "pair", an_order(), "btc/usdt", HUGE),
    *each("create_order", "side", an_order(), "long", "BUY", None, HUGE),
    *each("create_order", "order_type", an_order(), "stop", HUGE),
    *each("create_order", "request_id", an_order(), CANARY, HUGE),
    *each("create_order", "agent", an_order(), "", 7, HUGE),
    *each("create_order", "admission", an_order(), {"scopes": ["orders:live"]}),
    *each("create_order", "stakeamount", an_order(), 5),
    *each("create_order", "amout", an_order(), "1"),
    *each("create_order", "preview_id", an_order(), "", 7, True, [], {}, "x" * 513, HUGE),
    *each("dry_run_order", "preview_id", an_order(), "x"),
]  # fmt: skip


async def refusals(mode: Era, folder: Path, cases: list[Case]) -> list[dict[str, Any]]:
    async with connected(folder, mode=mode, rate_limit_per_minute=100_000) as agent:
        told = [await agent.refusal(tool, **arguments) for tool, arguments, _ in cases]
        assert agent.bot.calls == []
    return told


@pytest.mark.parametrize("mode", ERAS)
async def test_a_wrong_argument_is_refused_by_the_name_of_its_field(
    mode: Era, tmp_path: Path
) -> None:
    """request_invalid names the field, and the bot is never asked; the SDK would coerce or drop."""
    told = await refusals(mode, tmp_path, REFUSED)
    found = [(one["code"], one["field"]) for one in told]
    assert found == [("request_invalid", field) for _, _, field in REFUSED]


async def test_a_refusal_never_repeats_the_value(tmp_path: Path) -> None:
    """The value is the caller's text and a model would read it: not a piece of it comes back."""
    for refusal in await refusals("auto", tmp_path, REFUSED):
        text = orjson.dumps(refusal).decode()
        assert "canary" not in text
        assert len(text) < 1000


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_what_json_does_not_know_is_no_number_either(number: float, tmp_path: Path) -> None:
    """NaN and Infinity: a client writes null for them, Python's JSON reader lets them in."""
    cases = [
        ("create_order", an_order(amount=number), "amount"),
        ("create_order", an_order(order_type="limit", price=number), "price"),
        ("get_candles", candles(limit=number), "limit"),
        ("get_candles", candles(before=number), "before"),
    ]
    async with connected(tmp_path) as agent:
        for tool, arguments, field in cases:
            result = await agent.server.call_tool(tool, arguments)
            assert isinstance(result, CallToolResult)
            told = result.structured_content or {}
            assert (told.get("code"), told.get("field")) == ("request_invalid", field)


async def test_the_name_of_an_unknown_argument_comes_back_clean_and_short(tmp_path: Path) -> None:
    """It must be named to be corrected; it is the caller's text all the same."""
    async with connected(tmp_path) as agent:
        refusal = await agent.refusal("get_account", **{"ü\n\u202e" + "y" * 1000: 1})
    assert refusal["field"] == "???" + "y" * 37


async def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """An agent that corrects one field at a time would spend its quota on it."""
    async with connected(tmp_path) as agent:
        refusal = await agent.refusal("create_order", side="long", amount=-1, zzz=1)
    fields = {fault["field"] for fault in refusal["faults"]}
    assert fields == {"request_id", "pair", "side", "amount", "order_type", "zzz"}


@pytest.mark.parametrize("amount", [1, 1.0, "1", "1.0", "1e0", "0.001", 1e-3, "1e-3"], ids=repr)
async def test_numbers_and_decimal_strings_are_amounts(amount: float | str, tmp_path: Path) -> None:
    """JSON numbers and decimal strings alike; the dry run takes what create_order takes."""
    async with connected(tmp_path) as agent:
        told = await agent.told("dry_run_order", **an_order(amount=amount))
        assert told["estimated_cost"] == pytest.approx(float(amount) * 100)


async def test_the_text_null_is_no_missing_argument(tmp_path: Path) -> None:
    """The SDK reads JSON inside strings; here "null" is text, and no price, pair or preview."""
    async with connected(tmp_path) as agent:
        refused = [
            await agent.refusal("dry_run_order", **an_order(price="null")),
            await agent.refusal("get_open_positions", pair="null"),
            await agent.refusal("create_order", **an_order(preview_id="null")),
        ]
        codes = [(one["code"], one.get("field")) for one in refused]
    assert codes == [
        ("request_invalid", "price"), ("request_invalid", "pair"), ("preview_invalid", None),
    ]  # fmt: skip


async def test_how_a_number_is_written_does_not_make_it_another_order(tmp_path: Path) -> None:
    """1, "1.00" and 1e0 under one request_id are one order; 1.01 is a conflict."""
    async with connected(tmp_path) as agent:
        order = an_order(amount=1)
        answers = [
            await agent.told("create_order", **order | {"amount": amount})
            for amount in (1, "1.00", 1.0, "1e0")
        ]
        assert all(answer == answers[0] for answer in answers)
        assert agent.bot.asked("forceenter") == 1
        conflict = await agent.refusal("create_order", **order | {"amount": "1.01"})
        assert conflict["code"] == "idempotency_conflict"


@pytest.mark.parametrize(
    "before",
    ["2025-11-18T09:00:00Z", "2025-11-18T09:00:00", "2025-11-18T10:00:00+01:00", 1763456400],
)
async def test_before_is_a_moment_in_iso_or_unix_seconds(before: str | int, tmp_path: Path) -> None:
    """Candles that opened earlier; a moment without a zone is UTC."""
    async with connected(tmp_path) as agent:
        told = await agent.told("get_candles", **candles(before=before, limit=2))
    assert told["start"] == "2025-11-18T08:50:00Z"


async def test_next_before_pages_back_without_a_gap_or_a_repetition(tmp_path: Path) -> None:
    """Every candle once, in as many pages as it takes, until a short one says it is the last."""
    async with connected(tmp_path) as agent:
        agent.bot.count = 25
        opens: list[int] = []
        before = None
        for _ in range(4):
            page = await agent.told("get_candles", **candles(limit=10, before=before))
            opens = [*range(page["count"]), *opens]
            before = page["next_before"]
            if before is None:
                break
        assert len(opens) == 25
        assert page["count"] == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (candles(pair="DOGE/USDT"), "pair_unknown"),
        (candles(timeframe="7m"), "timeframe_unknown"),
        (candles(timeframe="1m"), "timeframe_unavailable"),
    ],
)
async def test_what_the_bot_does_not_serve_is_not_found(
    arguments: dict[str, Any], code: str, tmp_path: Path
) -> None:
    """Well-formed and unknown: its own code, never an empty answer."""
    async with connected(tmp_path) as agent:
        assert (await agent.refusal("get_candles", **arguments))["code"] == code


async def test_an_agent_speaks_for_itself_alone(tmp_path: Path) -> None:
    """An order names its subject or one of act_for; here there is none."""
    async with connected(tmp_path) as agent:
        told = await agent.told("create_order", **an_order(agent="agent-a"))
        assert told["agent"] == "agent-a"
        refusal = await agent.refusal("create_order", **an_order(agent="agent-b"))
        assert refusal["code"] == "agent_not_allowed"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_dry_runs_preview_id_is_taken_with_its_order(mode: Era, tmp_path: Path) -> None:
    """As it was told: the same order, held to what was seen; and once."""
    async with connected(tmp_path, mode=mode) as agent:
        order = an_order()
        preview = (await agent.told("dry_run_order", **order))["preview_id"]
        placed = await agent.told("create_order", **order, preview_id=preview)
        assert (placed["outcome"], placed["mode"]) == ("placed", "dry-run")
        assert await agent.told("create_order", **order, preview_id=preview) == placed
        other = an_order(pair="ETH/USDT", preview_id=preview)
        refusal = await agent.refusal("create_order", **other)
        assert (refusal["code"], refusal["retryable"]) == ("preview_mismatch", False)
        again = await agent.refusal("create_order", **an_order(), preview_id=preview)
        assert again["code"] == "preview_used"
        assert agent.bot.asked("forceenter") == 1


async def test_a_refused_preview_is_noted_for_the_operator(tmp_path: Path) -> None:
    """It leaves no order behind that would tell of it."""
    async with connected(tmp_path) as agent:
        await agent.refusal("create_order", **an_order(), preview_id="made-up")
        log = await agent.gateway.audit_log()
        noted = [row.event for row in await log.tail(10)] + list(agent.gateway.trail.oldest(10))
    assert ("call.refused", "preview_invalid") in {(one.event, one.code) for one in noted}


async def test_the_account_tells_limits_as_the_dry_run_does(tmp_path: Path) -> None:
    """One vocabulary: the rule's code, its limit, what is left; here before the order."""
    async with connected(tmp_path) as agent:
        rules = {one["rule"]: one for one in (await agent.told("get_account"))["limits"]["rules"]}
        checks = (await agent.told("dry_run_order", **an_order()))["checks"]
        compared = [one for one in checks if one["rule"] in rules]
        assert len(compared) > 4
        assert all(one["limit"] == rules[one["rule"]]["limit"] for one in compared)


async def test_a_live_gateway_shows_its_order_tools_to_whom_it_would_serve(tmp_path: Path) -> None:
    """The list is what the caller's scopes allow, on this gateway."""
    scopes = ("orders:create", "orders:preview")
    for given, sees in ((scopes, False), ((*scopes, "orders:live"), True)):
        async with connected(tmp_path, scopes=given, money="live") as agent:
            tools = {tool.name for tool in (await agent.client.list_tools()).tools}
            assert ("create_order" in tools, "cancel_order" in tools) == (sees, sees)
            assert "dry_run_order" in tools


async def test_a_live_order_wants_its_own_scope_and_says_that_it_is_live(tmp_path: Path) -> None:
    """Configuration, scope and bot agree, or nothing is sent."""
    scopes = ("orders:create", "orders:preview")
    async with connected(tmp_path, scopes=scopes, money="live") as agent:
        refusal = await agent.refusal("create_order", **an_order())
        assert (refusal["code"], refusal["scope"]) == ("scope_missing", "orders:live")
    async with connected(tmp_path, scopes=(*scopes, "orders:live"), money="live") as agent:
        assert (await agent.refusal("create_order", **an_order()))["code"] == "mode_mismatch"
        agent.bot.dry_run = False
        assert (await agent.told("create_order", **an_order()))["mode"] == "live"
