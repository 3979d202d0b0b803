"""What an operator decides and compares at the command line: settle, reconcile, and the hints."""

import json
import os
import pwd
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.clock import ManualClock
from tests.support.commands import Outcome, bot_served, command, gateway_served
from tests.support.desk import Desk, admission, open_desk, order
from tests.support.gateway import settings_for
from tests.support.review import sold_and_forgotten
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration

REASON = ("--reason", "order 4711 at the exchange")
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def bot() -> TradingBot:
    return TradingBot(ManualClock())


def traded(folder: Path, bot: TradingBot, *, forgotten: bool) -> str:
    """Leave a day's orders in the store of ``folder``; return the newest one's request_id."""

    async def trade() -> str:
        clock = ManualClock()
        async with open_desk(folder, bot, clock) as desk:
            if forgotten:
                return str((await _two_orders(desk, clock)).request_id)
            wanted = order()
            await desk.orders.create(admission(), wanted)
            return str(wanted.request_id)

    return anyio.run(trade)


async def _two_orders(desk: Desk, clock: ManualClock) -> Any:
    waits = await sold_and_forgotten(desk)
    clock.advance(1)
    await desk.orders.create(admission(), order(pair="ETH/USDT"))
    return waits


def test_an_exit_is_settled_without_gateway_and_bot(tmp_path: Path, bot: TradingBot) -> None:
    """In the store itself: who, why and what, in history and audit log."""
    waits = traded(tmp_path, bot, forgotten=True)
    told = command(
        tmp_path, "orders", "settle", waits, "--as", "placed", *REASON,
        "--filled", "0.5", "--price", "101", USER="mallory", LOGNAME="mallory", SUDO_USER="mallory",
    )  # fmt: skip
    assert (told.code, told.err) == (0, "")
    line, said = told.out.splitlines()
    assert line.split()[1] == "filled"
    assert said == f"Settled as placed by {ME}."
    shown = command(tmp_path, "orders", "show", waits, "--json").json()
    assert (shown["state"], shown["filled_amount"]) == ("filled", 0.5)
    [decided] = [step for step in shown["history"] if "operator" in step["detail"]]
    assert decided["detail"] == {
        "finding": "placed", "reason": REASON[1], "operator": ME, "filled": "0.5",
        "price": "101",
    }  # fmt: skip
    rows = command(tmp_path, "audit", "tail", "--request-id", waits, "--json").out.splitlines()
    assert any(f'"operator": "{ME}"' in row and REASON[1] in row for row in rows)


def test_a_running_gateway_settles_and_compares(
    tmp_path: Path, bot: TradingBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through its control socket, for it holds the store; it asks the kernel who that was."""
    waits = traded(tmp_path, bot, forgotten=True)
    with bot_served(bot) as env:
        settings = settings_for(
            tmp_path, freqtrade_url=env["FREQTRADE_URL"],
            freqtrade_username=env["FREQTRADE_USERNAME"],
            freqtrade_password=env["FREQTRADE_PASSWORD"],
        )  # fmt: skip
        with gateway_served(settings):
            words = ("orders", "settle", waits, "--as", "not-placed", *REASON, "--json")
            with monkeypatch.context() as lying:
                lying.setattr(os, "getuid", lambda: 4_000_000_001)
                settled = command(tmp_path, *words, USER="mallory").json()
            assert (settled["state"], settled["operator"]) == ("rejected", ME)
            again = command(tmp_path, *words)
            assert (again.code, again.err.partition(":")[0]) == (1, "not_under_review")
            told = command(tmp_path, "orders", "reconcile", "--json")
    assert told.code == 1
    assert [one["kind"] for one in told.json()["differences"]] == ["missing_at_bot"]


def test_a_running_sandbox_is_settled_where_nothing_else_is_set_up(
    tmp_path: Path, bot: TradingBot
) -> None:
    """As it is listed, shown and compared; no store is made in the default folder."""
    own, home = tmp_path / "sandbox", tmp_path / "mcp-gateway"
    home.mkdir()
    waits = traded(own, bot, forgotten=True)
    told = {"pid": os.getpid(), "data_dir": str(own)}
    (home / "sandbox.json").write_text(json.dumps(told), "utf-8")
    with (
        bot_served(bot) as env,
        gateway_served(settings_for(own, freqtrade_url=env["FREQTRADE_URL"])),
    ):
        settled = command(
            tmp_path, "orders", "settle", waits, "--as", "not-placed", *REASON,
            MCP_GATEWAY_DATA_DIR="",
        )  # fmt: skip
        elsewhere = command(tmp_path, "orders", "list", FREQTRADE_URL=env["FREQTRADE_URL"])
    assert (elsewhere.code, elsewhere.err.partition(":")[0]) == (1, "store_missing")
    assert (settled.code, settled.err) == (0, "(of the running sandbox)\n")
    assert settled.out.splitlines()[-1] == f"Settled as not-placed by {ME}."
    assert [path.name for path in home.iterdir()] == ["sandbox.json"]


@pytest.mark.parametrize(
    "words",
    [
        ("settle",),
        ("settle", "1", "--as", "placed"),
        ("settle", "1", *REASON),
        ("settle", "1", "--as", "perhaps", *REASON),
        ("settle", "1", "--as", "placed", *REASON, "--operator", "ann"),
        ("reconcile", "--repair"),
        ("reconcile", "BTC/USDT"),
    ],
    ids=" ".join,
)
def test_misuse_ends_with_2(words: tuple[str, ...], tmp_path: Path) -> None:
    """A finding and a reason are asked for; an operator's name is not taken from anybody."""
    told = command(tmp_path, "orders", *words)
    assert (told.code, told.out) == (2, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--as", "placed", "--reason", "sure"), "request_invalid"),
        (("--as", "placed", *REASON, "--filled", "much"), "request_invalid"),
        (("--as", "placed", *REASON, "--price", "100"), "request_invalid"),
        (("--as", "not-placed", *REASON, "--filled", "1"), "request_invalid"),
    ],
)
def test_a_decision_that_makes_no_sense_ends_with_1(
    words: tuple[str, ...], code: str, tmp_path: Path, bot: TradingBot
) -> None:
    """Nothing is settled by it."""
    waits = traded(tmp_path, bot, forgotten=True)
    told = command(tmp_path, "orders", "settle", waits, *words)
    assert (told.code, told.out, told.err.partition(":")[0]) == (1, "", code)
    assert command(tmp_path, "orders", "show", waits).json()["state"] == "needs_review"


def test_every_fault_of_a_decision_is_told(tmp_path: Path, bot: TradingBot) -> None:
    """By a running gateway as by the store: a line for each, the next step last."""
    waits = traded(tmp_path, bot, forgotten=True)
    words = ("orders", "settle", waits, "--as", "placed", "--reason", "sure", "--filled", "much")
    alone = command(tmp_path, *words)
    with (
        bot_served(bot) as env,
        gateway_served(settings_for(tmp_path, freqtrade_url=env["FREQTRADE_URL"])),
    ):
        running = command(tmp_path, *words)
    first, second, _hint = alone.err.splitlines()
    assert first == "request_invalid: reason: text with a length of at least 10"
    assert second == "  filled: a number or a decimal string such as 0.001"
    assert running.err == alone.err


def test_an_account_without_a_name_is_told_by_its_number(
    tmp_path: Path, bot: TradingBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs as a bare user id."""
    waits = traded(tmp_path, bot, forgotten=True)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    told = command(tmp_path, "orders", "settle", waits, "--as", "not-placed", *REASON)
    assert told.out.splitlines()[-1] == "Settled as not-placed by uid 4000000001."


def test_ledger_and_bot_that_agree_end_with_0(tmp_path: Path, bot: TradingBot) -> None:
    """How many orders that is told of."""
    traded(tmp_path, bot, forgotten=False)
    with bot_served(bot) as env:
        told = command(tmp_path, "orders", "reconcile", **env)
        assert (told.code, told.out, told.err) == (0, "Ledger and bot agree: 1 orders.\n", "")
        told = command(tmp_path, "orders", "reconcile", "--json", **env)
    assert (told.code, told.json()) == (0, {"orders": 1, "moving": 0, "differences": []})


def test_each_difference_has_a_line_and_its_meaning(tmp_path: Path, bot: TradingBot) -> None:
    """Exit code 1; kind, pair, ids, and what each side says."""
    traded(tmp_path, bot, forgotten=False)
    bot._exit({"tradeid": 1, "amount": 0.25})
    bot.status[0]["orders"][0]["filled"] = 0.5
    with bot_served(bot) as env:
        told = command(tmp_path, "orders", "reconcile", **env)
        [_, sold] = command(tmp_path, "orders", "reconcile", "--json", **env).json()["differences"]
    assert told.code == 1
    differ, strange, empty, *meanings = told.out.splitlines()
    assert differ.startswith("numbers_differ      BTC/USDT     order ")
    assert differ.endswith(
        "trade 1  ledger: filled 1 of 1 at 100 (order-1)  bot: 0.5 of 1 at 100 (order-1)"
    )
    assert strange == (
        "exit_not_in_ledger  BTC/USDT     order -  trade 1  ledger: nothing  "
        "bot: 0.25 of 0.25 at 100 (order-2)"
    )
    assert empty == ""
    assert [line.partition(":")[0] for line in meanings] == ["numbers_differ", "exit_not_in_ledger"]
    assert sold == {
        "kind": "exit_not_in_ledger", "pair": "BTC/USDT", "order_id": None, "trade_id": 1,
        "bot_order_id": "order-2", "ledger": None, "meaning": meanings[1].partition(": ")[2],
        "bot": {
            "bot_order_id": "order-2", "resting": False, "amount": 0.25, "filled_amount": 0.25,
            "average_price": 100.0,
        },
    }  # fmt: skip


def test_a_bot_that_is_away_is_not_compared(tmp_path: Path, bot: TradingBot) -> None:
    """A failure, with its code; not an agreement, and nothing on standard output."""
    traded(tmp_path, bot, forgotten=False)
    told = command(tmp_path, "orders", "reconcile", FREQTRADE_URL="http://127.0.0.1:9")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("bot_unreachable: ")


def test_what_waits_for_review_stands_first_with_a_hint(tmp_path: Path, bot: TradingBot) -> None:
    """Before newer orders, and whatever the limit is; JSON stays as it is asked for."""
    waits = traded(tmp_path, bot, forgotten=True)
    told = command(tmp_path, "orders", "list", "--limit", "1")
    first, second, empty, hint = told.out.splitlines()
    assert (first.split()[1], first.split()[-2:]) == ("needs_review", [waits, "trade_gone"])
    assert second.split()[1] == "filled"
    assert empty == ""
    assert hint.startswith("1 wait for review: mcp-gateway orders settle ")
    assert len(command(tmp_path, "orders", "list", "--limit", "1", "--json").json()) == 1
    other: Outcome = command(tmp_path, "orders", "list", "--state", "filled")
    assert "review" not in other.out


def test_an_order_that_waits_is_shown_with_how_to_settle_it(
    tmp_path: Path, bot: TradingBot
) -> None:
    """On standard error: standard output stays JSON."""
    waits = traded(tmp_path, bot, forgotten=True)
    told = command(tmp_path, "orders", "show", waits)
    assert f"mcp-gateway orders settle {told.json()['order_id']} --as" in told.err
    assert command(tmp_path, "orders", "show", waits, "--json").err == ""
