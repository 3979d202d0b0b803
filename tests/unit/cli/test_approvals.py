"""`mcp-gateway approvals`: what is shown, asked and said at the command line."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from mcp_gateway.cli.approvals import approvals
from tests.support.asking import asking, policy_file, waiting
from tests.support.clock import ManualClock
from tests.support.commands import Outcome, bot_served, command, gateway_served, trading_bot
from tests.support.desk import open_desk
from tests.support.gateway import settings_for
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration

ME = pwd.getpwuid(os.getuid()).pw_name
REASON = ("--reason", "too much before the weekend")


def left_waiting(folder: Path, bot: TradingBot, *amounts: str) -> list[str]:
    """Leave orders that wait in the store of ``folder``; return their request ids."""

    async def ask() -> list[str]:
        # Opened anew, the store is looked at by the real clock.
        clock = ManualClock(bot.clock.now())
        bot.clock, real = clock, bot.clock
        async with open_desk(folder, bot, clock, policy=asking()) as desk:
            left = []
            for amount in amounts:
                left.append(str((await waiting(desk, amount=amount)).request_id))
                clock.advance(0.001)
        bot.clock = real
        return left

    return anyio.run(ask)


@contextmanager
def served(folder: Path, bot: TradingBot) -> Iterator[None]:
    """Let a gateway hold the store, before a bot of the present moment."""
    with bot_served(bot) as env:
        settings = settings_for(
            folder,
            policy=policy_file(folder),
            freqtrade_url=env["FREQTRADE_URL"],
            freqtrade_username=env["FREQTRADE_USERNAME"],
            freqtrade_password=env["FREQTRADE_PASSWORD"],
        )
        with gateway_served(settings):
            yield


@pytest.fixture
def bot() -> TradingBot:
    return trading_bot()


def answered(folder: Path, answer: str, *words: str) -> Outcome:
    """Run a command at whose question somebody types an answer."""
    given = {"XDG_DATA_HOME": str(folder), "MCP_GATEWAY_DATA_DIR": str(folder)}
    told = CliRunner().invoke(approvals, list(words), input=answer, env=given)
    code = told.return_value if isinstance(told.return_value, int) else told.exit_code
    return Outcome(code, told.stdout, told.stderr)


def row_of(folder: Path, request_id: str) -> dict[str, Any]:
    """Return an order as `orders show` tells it."""
    shown: dict[str, Any] = command(folder, "orders", "show", request_id, "--json").json()
    return shown


def test_what_waits_is_listed_as_it_will_be_asked(tmp_path: Path, bot: TradingBot) -> None:
    """From the store itself where no gateway runs; a word where nothing waits."""
    first, second = left_waiting(tmp_path, bot, "1", "2")
    rows = command(tmp_path, "approvals", "list", "--json").json()
    assert [row["request_id"] for row in rows] == [first, second]
    told = command(tmp_path, "approvals", "list")
    assert (told.code, told.err) == (0, "")
    assert told.out == f"{rows[0]['text']}\n\n{rows[1]['text']}\n"
    assert "wants to buy 2 BTC" in rows[1]["text"]
    for wanted in (first, second):
        assert command(tmp_path, "approvals", "decline", wanted, *REASON).code == 0
    assert command(tmp_path, "approvals", "list").out == "Nothing waits for approval.\n"


def test_a_running_gateway_sends_what_is_approved(tmp_path: Path, bot: TradingBot) -> None:
    """Through its control socket; who that was the kernel tells."""
    [wanted] = left_waiting(tmp_path, bot, "1")
    with served(tmp_path, bot):
        told = command(
            tmp_path, "approvals", "approve", wanted, "--yes", "--reason", "it is fine",
            USER="mallory", LOGNAME="mallory",
        )  # fmt: skip
        assert (told.code, told.err) == (0, "")
        order_id = row_of(tmp_path, wanted)["order_id"]
        assert told.out.startswith(f"Order {order_id}: filled.")
        again = command(tmp_path, "approvals", "approve", order_id, "--yes")
        assert (again.code, again.out) == (1, "")
        assert again.err.startswith("not_pending: ")
        assert (
            f"it is filled.\n  Nothing was changed. `mcp-gateway orders show {order_id}`"
            in again.err
        )
        for words in (("approve", wanted, "--yes"), ("decline", wanted, *REASON)):
            decided = command(tmp_path, "approvals", *words, "--json")
            assert (decided.code, decided.json()["code"]) == (1, "not_pending")
            assert (decided.json()["state"], decided.json()["order_code"]) == ("filled", None)
    shown = row_of(tmp_path, wanted)
    [yes] = [step for step in shown["history"] if step["state"] == "approved"]
    assert (yes["detail"]["by"], yes["detail"]["reason"]) == (ME, "it is fine")
    assert len(bot.posts) == 1


def test_an_order_that_is_denied_after_all_ends_with_1(tmp_path: Path, bot: TradingBot) -> None:
    """The yes was given and the order was not placed; the code says why."""
    [wanted] = left_waiting(tmp_path, bot, "1")
    bot.state = "paused"
    with served(tmp_path, bot):
        told = command(tmp_path, "approvals", "approve", wanted, "--yes", "--json")
    assert told.code == 1
    assert (told.json()["outcome"], told.json()["code"]) == ("denied", "bot_not_running")
    assert told.json()["by"] == ME


@pytest.mark.parametrize(("answer", "posts"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_a_person_is_shown_the_text_and_asked(
    answer: str, posts: int, tmp_path: Path, bot: TradingBot
) -> None:
    """No is the default, and changes nothing."""
    [wanted] = left_waiting(tmp_path, bot, "1")
    with served(tmp_path, bot):
        [row] = command(tmp_path, "approvals", "list", "--json").json()
        told = answered(tmp_path, answer, "approve", wanted)
        left = command(tmp_path, "approvals", "list", "--json").json()
    assert told.out.startswith(row["text"])
    assert len(bot.posts) == posts
    assert len(left) == 1 - posts


def test_a_declined_order_is_denied(tmp_path: Path, bot: TradingBot) -> None:
    """With a reason that stands in the records."""
    [wanted] = left_waiting(tmp_path, bot, "1")
    told = command(tmp_path, "approvals", "decline", wanted, *REASON)
    assert told.code == 0
    assert "wants to buy 1 BTC" in told.out  # what it is that was declined
    assert ": denied (declined). " in told.out
    shown = row_of(tmp_path, wanted)
    assert shown["history"][-1]["detail"] == {"by": ME, "reason": REASON[1]}
    assert command(tmp_path, "approvals", "list", "--json").json() == []


def test_without_a_gateway_a_yes_is_written_down_and_says_so(
    tmp_path: Path, bot: TradingBot
) -> None:
    """A gateway that starts within the minute sends it."""
    [wanted] = left_waiting(tmp_path, bot, "1")
    told = command(tmp_path, "approvals", "approve", wanted, "--yes")
    assert told.code == 0
    assert ": approved. A gateway takes it up within seconds" in told.out
    assert row_of(tmp_path, wanted)["state"] == "approved"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("approve", "X", "--json"), 2, id="json without yes"),
        pytest.param(("approve",), 2, id="no order"),
        pytest.param(("decline", "X"), 2, id="no reason"),
        pytest.param(("decline", "X", "--reason", " "), 1, id="empty reason"),
        pytest.param(("decline", "X", "--reason", "r" * 1001), 1, id="long reason"),
        pytest.param(("approve", "X", "--yes"), 1, id="unknown order"),
        pytest.param(("decline", "X", "--reason", "no"), 1, id="unknown order to decline"),
    ],
)
def test_misuse_and_unknown_orders_have_exit_codes(
    words: tuple[str, ...], code: int, tmp_path: Path, bot: TradingBot
) -> None:
    """0 done, 1 failed, 2 misuse."""
    left_waiting(tmp_path, bot, "1")
    told = command(tmp_path, "approvals", *words)
    assert (told.code, told.out) == (code, "")
    assert told.err.startswith("Usage: " if code == 2 else ("order_unknown: ", "request_invalid: "))


@pytest.mark.parametrize("gateway", [True, False], ids=["gateway", "store"])
def test_a_halt_is_shown_beside_the_question_and_a_yes_does_not_burn_the_order(
    gateway: bool, tmp_path: Path, bot: TradingBot
) -> None:
    """It would only be denied: it is refused, and waits for the end of the halt."""
    [wanted] = left_waiting(tmp_path, bot, "1")
    with served(tmp_path, bot) if gateway else nullcontext():
        assert command(tmp_path, "halt", "--pair", "BTC/USDT", *REASON).code == 0
        shown = command(tmp_path, "approvals", "list")
        assert "! Halted: pair BTC/USDT (operator). A yes is refused" in shown.out
        told = command(tmp_path, "approvals", "approve", wanted, "--yes")
        assert (told.code, told.err.partition(":")[0]) == (1, "trading_halted")
        [row] = command(tmp_path, "approvals", "list", "--json").json()
        assert (row["request_id"], row["halted"]["scope"]) == (wanted, "pair")
    assert bot.posts == []
