"""`mcp-gateway halt` and `resume`: through a gateway, without one, and what people are told."""

import json
import os
import pwd
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.cli.control import reach
from mcp_gateway.cli.control.verbs import VERBS
from mcp_gateway.cli.halt_words import flattened
from tests.support.clock import ManualClock
from tests.support.commands import Outcome, bot_served, command, gateway_served, trading_bot
from tests.support.desk import admission, open_desk, order, rested, stored
from tests.support.gateway import settings_for
from tests.support.processes import run, serving
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration

ME = pwd.getpwuid(os.getuid()).pw_name
WHY = ("--reason", "the agent buys tops")


@contextmanager
def served(folder: Path, bot: TradingBot) -> Iterator[None]:
    """Let a gateway hold the store, before a bot of the present moment."""
    with bot_served(bot) as env:
        settings = settings_for(
            folder,
            freqtrade_url=env["FREQTRADE_URL"],
            freqtrade_username=env["FREQTRADE_USERNAME"],
            freqtrade_password=env["FREQTRADE_PASSWORD"],
        )
        with gateway_served(settings):
            yield


def bought(folder: Path, bot: TradingBot) -> None:
    """Let an agent hold a position, and the bot's strategy another."""

    async def trade() -> None:
        bot.clock, real = ManualClock(bot.clock.now()), bot.clock
        assert isinstance(bot.clock, ManualClock)
        async with open_desk(folder, bot, bot.clock) as desk:
            await desk.orders.create(admission(), order())
        bot.clock = real
        bot.enter("ETH/USDT", "its own")

    anyio.run(trade)


def listed(folder: Path) -> Any:
    return command(folder, "halt", "list", "--json").json()


def held(folder: Path) -> list[tuple[str, str | None, str]]:
    """Return what is in force: scope, name and code."""
    return [(one["scope"], one["name"], one["code"]) for one in listed(folder)["in_force"]]


def test_a_halt_is_set_and_released_through_the_gateway(tmp_path: Path) -> None:
    """With the account that did it, by the system's word."""
    with served(tmp_path, trading_bot()):
        told = command(tmp_path, "halt", *WHY, "--json").json()
        assert (told["id"], told["scope"], told["by"], told["stored"]) == (1, "all", ME, True)
        assert held(tmp_path) == [("all", None, "operator")]
        assert "Halted:   1  everything" in command(tmp_path, "halt", *WHY).out
        released = command(tmp_path, "resume", "1", "--reason", "it is over", "--json").json()
        assert [(one["id"], one["released_by"]) for one in released] == [(1, ME)]
        assert held(tmp_path) == []
        assert [one["release_reason"] for one in listed(tmp_path)["released"]] == ["it is over"]


@pytest.mark.parametrize("gateway", [True, False], ids=["gateway", "store"])
def test_an_agent_and_a_pair_are_halted_by_name(tmp_path: Path, gateway: bool) -> None:
    """And released by name; without a gateway the store itself is opened."""
    with served(tmp_path, trading_bot()):
        pass  # there is a store
    with served(tmp_path, trading_bot()) if gateway else contextless():
        assert command(tmp_path, "halt", "--agent", "signal-agent", *WHY).code == 0
        assert command(tmp_path, "halt", "--pair", "BTC/USDT", *WHY).code == 0
        assert held(tmp_path) == [
            ("agent", "signal-agent", "operator"), ("pair", "BTC/USDT", "operator"),
        ]  # fmt: skip
        assert command(tmp_path, "resume", "--agent", "signal-agent", *WHY).code == 0
        assert command(tmp_path, "resume", "--all", *WHY).code == 0
        assert held(tmp_path) == []


@contextmanager
def contextless() -> Iterator[None]:
    yield


def test_without_a_gateway_the_file_halts_and_says_what_that_means(tmp_path: Path) -> None:
    """Any gateway that uses the folder finds it."""
    told = command(tmp_path, "halt", *WHY)
    assert told.code == 1  # no gateway has been here
    assert f"No gateway answered; written to the file {tmp_path / 'HALT'} only." in told.out
    assert "Check MCP_GATEWAY_DATA_DIR" in told.out
    assert (tmp_path / "HALT").read_text() == f"{ME}: the agent buys tops\n"
    assert held(tmp_path) == [("all", None, "file")]
    with served(tmp_path, trading_bot()):
        assert held(tmp_path) == [("all", None, "file")]
        assert command(tmp_path, "resume", "--all", *WHY).code == 0
        assert not (tmp_path / "HALT").exists()
        assert held(tmp_path) == []


def test_a_gateway_that_hangs_is_halted_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket takes the question, and no answer comes."""
    impatient = replace(VERBS["halt.set"], deadline_s=0.2)
    monkeypatch.setattr(reach, "VERBS", {**VERBS, "halt.set": impatient})
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "control.sock"))
        hanging.listen()
        told = command(tmp_path, "halt", *WHY, "--json").json()
    assert (told["code"], told["stored"], told["heard"]) == ("file", False, False)
    assert (tmp_path / "HALT").exists()


def test_a_file_can_be_released_without_a_gateway(tmp_path: Path) -> None:
    """And nothing is halted any more."""
    command(tmp_path, "halt", *WHY)
    assert held(tmp_path) == [("all", None, "file")]
    assert command(tmp_path, "resume", "7", *WHY).err.startswith("halt_unknown")
    told = command(tmp_path, "resume", "--all", *WHY)
    assert (told.code, list(tmp_path.iterdir())) == (0, [])  # and no store was made for it


def test_the_folder_of_a_stopped_gateway_is_halted_by_the_file(tmp_path: Path) -> None:
    """Nobody has heard it, and whoever starts there obeys it: 0, and said so."""
    with served(tmp_path, trading_bot()):
        pass
    told = command(tmp_path, "halt", *WHY)
    assert told.code == 0
    assert "No gateway answered; written to the file" in told.out
    assert command(tmp_path, "halt", *WHY, "--json").json()["heard"] is False


def test_a_halt_that_can_be_written_nowhere_says_so_in_capitals(tmp_path: Path) -> None:
    """Whoever reads fast must not take it for a halt."""
    told = command(tmp_path, "halt", *WHY, MCP_GATEWAY_DATA_DIR=str(_no_folder(tmp_path)))
    assert (told.code, told.out) == (1, "")
    assert "NOTHING IS HALTED: The file HALT can't be written" in told.err


def _no_folder(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "data"


def test_a_halt_names_the_entries_that_may_still_fill_and_one_is_taken_back(
    tmp_path: Path,
) -> None:
    """A halt calls nothing back; the operator may, with a reason, in the agent's place."""
    bot = trading_bot()
    resting = rests(tmp_path, bot)
    with served(tmp_path, bot):
        told = command(tmp_path, "halt", *WHY)
        assert f"mcp-gateway orders cancel {resting}" in told.out
        [one] = command(tmp_path, "halt", *WHY, "--json").json()["open_entries"]
        assert (one["order_id"], one["resting"]) == (resting, True)
        assert "placed (rests)" in command(tmp_path, "orders", "list").out
        elsewhere = command(tmp_path, "halt", "--pair", "ETH/USDT", *WHY, "--json").json()
        assert elsewhere["open_entries"] == []
        back = command(tmp_path, "orders", "cancel", resting, *WHY)
        assert (back.code, f"Taken back by {ME}" in back.out) == (0, True)
        assert command(tmp_path, "orders", "cancel", resting, "--reason", " ").code == 1
    assert bot.status == []
    rows = command(tmp_path, "audit", "tail", "--json").out.splitlines()
    [row] = [json.loads(one) for one in rows if '"order.taken_back"' in one]
    assert (row["order_id"], row["detail"]["operator"]) == (resting, ME)
    assert row["detail"]["reason"] == WHY[1]
    assert f"(by {ME})" in command(tmp_path, "audit", "tail", "--event", "order.taken_back").out


def rests(folder: Path, bot: TradingBot) -> str:
    """Let an agent's entry rest at the bot; return its order id."""

    async def trade() -> str:
        bot.clock, real = ManualClock(bot.clock.now()), bot.clock
        assert isinstance(bot.clock, ManualClock)
        async with open_desk(folder, bot, bot.clock) as desk:
            left = await stored(desk, await rested(desk))
        bot.clock = real
        return left.order_id

    return anyio.run(trade)


@pytest.mark.parametrize(
    "words",
    [
        ("halt",),
        ("halt", "--reason", " "),
        ("halt", "--agent", "a", "--pair", "BTC/USDT", *WHY),
        ("halt", "--reason", "x", "list"),
        ("halt", "flatten"),
        ("halt", "flatten", "--json", *WHY),
        ("halt", "flatten", "--confirmation", "1", *WHY),
        ("resume", *WHY),
        ("resume", "1"),
        ("resume", "1", "--all", *WHY),
    ],
    ids=lambda words: " ".join(words[:3]),
)  # fmt: skip
def test_misuse_halts_and_releases_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 2."""
    assert command(tmp_path, *words).code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_in_force_is_not_released(tmp_path: Path) -> None:
    """Exit code 1, with the code."""
    with served(tmp_path, trading_bot()):
        pass
    told = command(tmp_path, "resume", "7", *WHY)
    assert (told.code, told.err.startswith("halt_unknown")) == (1, True)


@pytest.mark.parametrize(
    "words",
    [("halt", "--agent", "signal-agent", *WHY), ("halt", "list"), ("resume", "--all", *WHY)],
    ids=["halt", "list", "resume"],
)
def test_in_a_folder_without_a_store_nothing_is_said_to_be_halted(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """A wrong MCP_GATEWAY_DATA_DIR must not read like a halt, nor like none in force."""
    told = command(tmp_path, *words)
    assert (told.code, told.out, told.err.startswith("store_missing")) == (1, "", True)
    assert list(tmp_path.iterdir()) == []


def test_flatten_shows_asks_and_sells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not this gateway's is named and left; a no changes nothing."""
    bot = trading_bot()
    bought(tmp_path, bot)
    with served(tmp_path, bot):
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: "n")
        told = command(tmp_path, "halt", "flatten", *WHY)
        assert told.code == 1
        assert "sell    1 BTC/USDT of agent-a" in told.out
        assert "ETH/USDT: trade 2 is not this gateway's" in told.out
        assert (held(tmp_path), len(bot.status)) == ([], 2)
        done = command(tmp_path, "halt", "flatten", "--yes", "--json", *WHY)
        assert done.code == 0
        assert (done.json()["flat"], done.json()["operator"]) == (True, ME)
        assert [trade["pair"] for trade in bot.status] == ["ETH/USDT"]
        assert held(tmp_path) == [("all", None, "operator")]
        again = command(
            tmp_path,
            "halt",
            "flatten",
            "--yes",
            "--confirmation",
            done.json()["confirmation"],
            *WHY,
        )
        assert (again.code, len([post for post in bot.posts if "tradeid" in post])) == (0, 1)


def test_flatten_needs_a_gateway(tmp_path: Path) -> None:
    """A sell wants somebody who sees it through."""
    told = command(tmp_path, "halt", "flatten", "--yes", *WHY)
    assert (told.code, "gateway_not_running" in told.err) == (1, True)
    assert "--confirmation" not in told.err  # nothing was begun


def test_a_signal_halts_a_real_process(tmp_path: Path) -> None:
    """SIGUSR1 to `serve`: the file and the row, and the process goes on."""
    with serving(tmp_path) as gateway:
        gateway.signal(signal.SIGUSR1)
        gateway.signalled = None
        told: list[Any] = []
        for _ in range(100):
            found = run("halt", "list", "--json", folder=tmp_path, env=_env(gateway.data_dir))
            told = Outcome(0, found.stdout, "").json()["in_force"]
            if told and told[0]["id"] is not None:
                break
            time.sleep(0.1)
        assert [one["code"] for one in told] == ["signal"]
        assert (gateway.data_dir / "HALT").exists()
        assert gateway.process.poll() is None


def _env(data_dir: Path) -> dict[str, str]:
    return {**os.environ, "MCP_GATEWAY_DATA_DIR": str(data_dir)}


def test_flattening_is_told_with_amounts_prices_and_the_way_back() -> None:
    """And with the cure, where a stopped bot took nothing."""
    sold = {
        "what": "sell", "amount": "1.5", "pair": "BTC/USDT", "agent": "a", "outcome": "placed",
        "filled_amount": "1.5", "average_price": "61000", "code": None,
    }  # fmt: skip
    refused = sold | {"outcome": "rejected", "average_price": None, "code": "bot_not_running"}
    nothing: dict[str, Any] = {"sells": [], "cancels": [], "unsettled": [], "others": []}
    told = {"orders": [sold, refused], "left": nothing, "flat": False, "halt": {"id": 7}}
    lines = flattened(told | {"confirmation": "c"}).splitlines()
    assert lines[0] == "sell    1.5 BTC/USDT of a: placed, 1.5 at 61000"
    assert lines[1] == "sell    1.5 BTC/USDT of a: rejected (bot_not_running)"
    assert any("start it paused first" in line for line in lines)
    assert lines[-1] == 'Everything is halted now. To buy again: mcp-gateway resume 7 --reason "…"'
