"""`mcp-gateway orders`: from the store itself, or through the gateway that holds it."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.errors import GatewayError
from mcp_gateway.settings import Settings
from tests.support.clock import ManualClock
from tests.support.commands import bot_served, command, gateway_served, trading_bot
from tests.support.desk import admission, open_desk, order
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration


def placed_and_denied(folder: Path) -> dict[str, str]:
    """Write a placed order and a denied one into the store of ``folder``; return their ids."""

    async def trade() -> dict[str, str]:
        clock = ManualClock()
        async with open_desk(folder, TradingBot(clock), clock) as desk:
            good, bad = order(), order(pair="ETH/USDT", amount="1000")
            created = await desk.orders.create(admission(), good)
            clock.advance(1)
            with pytest.raises(GatewayError):
                await desk.orders.create(admission("agent-b"), bad)
            return {
                "placed": str(good.request_id),
                "denied": str(bad.request_id),
                "order_id": created.answer["order_id"],
            }

    return anyio.run(trade)


def ids(rows: Any) -> list[str]:
    return [row["request_id"] for row in rows]


def test_orders_are_listed_without_a_running_gateway(tmp_path: Path) -> None:
    """Newest first; narrowed by agent, state and number."""
    made = placed_and_denied(tmp_path)
    told = command(tmp_path, "orders", "list", "--json")
    assert (told.code, told.err) == (0, "")
    assert ids(told.json()) == [made["denied"], made["placed"]]
    for words, expected in (
        (("--agent", "agent-a"), ["placed"]),
        (("--state", "denied"), ["denied"]),
        (("--limit", "1"), ["denied"]),
        (("--agent", "nobody"), []),
    ):
        rows = command(tmp_path, "orders", "list", "--json", *words).json()
        assert ids(rows) == [made[name] for name in expected]


def test_the_list_is_readable_for_people(tmp_path: Path) -> None:
    """One line an order, with the code of a refusal; a word where there is none."""
    missing = command(tmp_path, "orders", "list")  # a mistyped folder is no empty ledger
    assert (missing.code, missing.err.partition(":")[0]) == (1, "store_missing")
    assert list(tmp_path.iterdir()) == []
    made = placed_and_denied(tmp_path)
    denied, placed = command(tmp_path, "orders", "list").out.splitlines()
    assert made["placed"] in placed
    assert placed.split()[1] == "filled"
    assert "BTC/USDT" in placed
    assert "denied" in denied
    assert "agent-b" in denied
    assert denied.split()[-2] == made["denied"]


@pytest.mark.parametrize("key", ["placed", "order_id"])
def test_an_order_is_shown_by_either_of_its_ids_with_its_history(key: str, tmp_path: Path) -> None:
    """Every step from received on."""
    made = placed_and_denied(tmp_path)
    told = command(tmp_path, "orders", "show", made[key], "--json")
    assert told.code == 0
    assert told.out.count("\n") == 1
    shown = told.json()
    assert (shown["order_id"], shown["request_id"]) == (made["order_id"], made["placed"])
    assert shown["quote_sent"] > 0
    assert shown["reserved_quote"] > shown["quote_sent"] * 0.99
    states = [step["state"] for step in shown["history"]]
    assert states[:4] == ["received", "reserved", "sent", "placed"]
    assert command(tmp_path, "orders", "show", made[key].upper()).json() == shown


@pytest.mark.parametrize("wanted", ["nothing", "550e8400-e29b-41d4-a716-446655440000"])
def test_an_unknown_order_ends_with_1(wanted: str, tmp_path: Path) -> None:
    """A code and a hint on standard error."""
    placed_and_denied(tmp_path)
    told = command(tmp_path, "orders", "show", wanted)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("order_unknown: ")


def test_a_wrong_filter_ends_with_1(tmp_path: Path) -> None:
    """It never means: all of them."""
    placed_and_denied(tmp_path)
    told = command(tmp_path, "orders", "list", "--state", "lost")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("request_invalid: ")


def test_a_running_gateway_is_asked_and_not_gone_around(tmp_path: Path) -> None:
    """It holds the store; the same words give the same answer through its control socket."""
    made = placed_and_denied(tmp_path)
    alone = command(tmp_path, "orders", "list", "--json").json()
    with bot_served(trading_bot()) as bot:
        settings = Settings.apart(
            jwt_secret="k" * 32, data_dir=tmp_path, freqtrade_url=bot["FREQTRADE_URL"]
        )
        with gateway_served(settings):
            assert command(tmp_path, "orders", "list", "--json").json() == alone
            told = command(tmp_path, "orders", "show", "nothing")
            assert (told.code, told.err.partition(":")[0]) == (1, "order_unknown")
            shown = command(tmp_path, "orders", "show", made["placed"])
            assert shown.json()["order_id"] == made["order_id"]
