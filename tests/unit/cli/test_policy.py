"""`mcp-gateway policy`: the file, what is in force, an order tried on it, a change agreed to."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.cli.control.verbs import VERBS
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.rules import RULES
from mcp_gateway.settings import Settings
from mcp_gateway.transports.asker import account_name
from tests.house.repository import PACKAGE
from tests.support.commands import bot_served, command, gateway_served, trading_bot
from tests.support.policy import POLICY_FILE
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration

ME = account_name(os.getuid())
MARKETS = POLICY_FILE.read_text(encoding="utf-8")
LIMITS = '[defaults]\norder_notional = "500"\nrepeats = 9\n'
LOOSER = '[defaults]\norder_notional = "600"\nrepeats = 9\n'
BUY = ("policy", "explain", "agent-a", "BTC/USDT", "buy")


def written(folder: Path, text: str = LIMITS) -> Path:
    path = folder / "policy.toml"
    path.write_text(f"{text}\n{MARKETS}", encoding="utf-8")
    return path


@contextmanager
def gateway(folder: Path, text: str = LIMITS, bot: TradingBot | None = None) -> Iterator[Path]:
    """Serve a gateway with a policy of ours before a bot; yield the policy's file."""
    path = written(folder, text)
    with bot_served(bot or trading_bot()) as told:
        settings = Settings.apart(
            jwt_secret="k" * 32, data_dir=folder, policy=path, freqtrade_url=told["FREQTRADE_URL"],
            freqtrade_username=told["FREQTRADE_USERNAME"],
            freqtrade_password=told["FREQTRADE_PASSWORD"],
        )  # fmt: skip
        with gateway_served(settings):
            yield path


def test_a_sound_file_is_told_by_its_hash(tmp_path: Path) -> None:
    """Exit code 0, also where there are warnings; the file may be named by the setting."""
    path = written(tmp_path, LIMITS + 'approval_above = "500"\n')
    told = command(tmp_path, "policy", "check", str(path), "--json")
    assert (told.code, told.err) == (0, "")
    assert told.out.count("\n") == 1
    assert told.json()["hash"] == load_policy(path).hash
    assert told.json()["faults"] == []
    [doubt] = told.json()["warnings"]
    assert "nobody is ever asked" in doubt
    shown = command(tmp_path, "policy", "check", MCP_GATEWAY_POLICY=str(path))
    assert shown.code == 0
    first, last = shown.out.splitlines()
    assert first == f"! {doubt}"
    assert last.endswith(load_policy(path).hash)


def test_every_fault_is_told_with_its_line_and_ends_with_1(tmp_path: Path) -> None:
    """Whatever the other settings are: none of them is asked for."""
    path = tmp_path / "policy.toml"
    path.write_text("[defaults]\nrepeats = 0\n[totals]\n")
    told = command(tmp_path, "policy", "check", str(path), JWT_SECRET="short")
    assert (told.code, told.err) == (1, "")
    first, second = told.out.splitlines()
    assert first.startswith("✗ line 2: defaults.repeats: ")
    assert second == "✗ line 3: totals: there is no such key"
    faults = command(tmp_path, "policy", "check", str(path), "--json").json()["faults"]
    assert [f"✗ {one}" for one in faults] == [first, second]


def test_without_a_file_to_check_it_ends_with_2(tmp_path: Path) -> None:
    """Neither named nor set, or not there."""
    assert command(tmp_path, "policy", "check").code == 2
    assert command(tmp_path, "policy", "check", "missing.toml").code == 2


def test_without_a_gateway_the_file_is_shown(tmp_path: Path) -> None:
    """And said so; without a file, what is built in. Faults are told as everywhere."""
    path = written(tmp_path)
    shown = command(tmp_path, "policy", "show", MCP_GATEWAY_POLICY=str(path))
    assert shown.code == 0
    assert "no gateway runs here" in shown.out
    assert 'order_notional = "500"' in shown.out
    told = command(tmp_path, "policy", "show", "--json").json()
    assert (told["running"], told["file"], told["written"]) == (False, None, False)
    path.write_text("nonsense")
    assert command(tmp_path, "policy", "show", MCP_GATEWAY_POLICY=str(path)).code == 2


@pytest.mark.parametrize("words", [(*BUY, "1"), ("policy", "accept", "0123456789ab")])
def test_what_only_a_gateway_can_do_ends_with_1_without_one(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """A code and a hint; nothing is guessed."""
    told = command(tmp_path, *words)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("gateway_not_running: ")


def test_a_change_is_shown_agreed_to_and_written_down(tmp_path: Path) -> None:
    """Shown with its hash and what it loosens; by the account that the system tells."""
    with gateway(tmp_path) as path:
        before = command(tmp_path, "policy", "show", "--json")
        assert (before.code, before.json()["running"]) == (0, True)
        assert before.json()["hash"] == load_policy(path).hash
        written(tmp_path, LOOSER)
        shown = command(tmp_path, "policy", "show")
        assert shown.code == 1
        assert 'order_notional = "500"' in shown.out
        assert "    defaults.order_notional: 600 instead of 500\n" in shown.out
        wanted = load_policy(path).hash
        assert shown.out.endswith(f"mcp-gateway policy accept {wanted}\n")
        other = command(tmp_path, "policy", "accept", before.json()["hash"])
        assert (other.code, other.err.partition(":")[0]) == (1, "policy_differs")
        accepted = command(tmp_path, "policy", "accept", wanted, "--json").json()
        assert (accepted["hash"], accepted["operator"]) == (wanted, ME)
        again = command(tmp_path, "policy", "accept", wanted)
        assert (again.code, again.err.partition(":")[0]) == (1, "nothing_pending")
        after = command(tmp_path, "policy", "show")
        assert after.code == 0
        assert 'order_notional = "600"' in after.out
    rows = command(tmp_path, "audit", "tail", "--json").out.splitlines()
    told = [json.loads(row) for row in rows]
    events = [(row["event"], row["detail"].get("operator")) for row in told]
    assert [one for one in events if one[0].startswith("policy.")] == [
        ("policy.pending", None), ("policy.changed", ME),
    ]  # fmt: skip


def test_a_faulty_file_is_shown_beside_what_stays_in_force(tmp_path: Path) -> None:
    """Exit code 1: somebody has to look."""
    with gateway(tmp_path):
        written(tmp_path, "[defaults]\nrepeats = 0\n")
        shown = command(tmp_path, "policy", "show")
        assert shown.code == 1
        assert 'order_notional = "500"' in shown.out
        assert "line 2: defaults.repeats: " in shown.out


def rule(told: Any, code: str) -> dict[str, Any]:
    [found] = [one for one in told["rules"] if one["rule"] == code]
    return dict(found)


def test_an_order_is_explained_rule_by_rule_and_not_sent(tmp_path: Path) -> None:
    """Every rule that binds entries, with its limit, the order's value and what is left."""
    bot = trading_bot()
    with gateway(tmp_path, bot=bot):
        told = command(tmp_path, *BUY, "1", "--json")
        assert (told.code, told.json()["outcome"]) == (0, "placed")
        wanted = [one.code for one in RULES if one.binding("buy")]
        assert [one["rule"] for one in told.json()["rules"]] == wanted
        found = rule(told.json(), "notional_too_large")
        assert (found["result"], found["limit"], found["setting"]) == (
            "passed", "500", "order_notional",
        )  # fmt: skip
        assert float(found["value"]) + float(found["left"]) == pytest.approx(500)
        assert rule(told.json(), "daily_loss")["result"] == "unset"
        assert rule(told.json(), "price_collar")["result"] == "idle"  # no limit price
        assert rule(told.json(), "repeat_throttle")["limit"] == "9"
        people = command(tmp_path, *BUY, "1")
        assert people.code == 0
        assert "It would be sent to the bot." in people.out
        assert "  daily_loss             daily_loss is not set" in people.out.splitlines()
        assert re.search(
            r"^✓ notional_too_large +\d+\.\d+ +500 +\d+\.\d+$", people.out, re.MULTILINE
        )
        assert command(tmp_path, "orders", "list").out == "No orders.\n"
    assert bot.posts == []


def test_an_order_that_would_be_denied_ends_with_1(tmp_path: Path) -> None:
    """With every rule that speaks against it, not the first alone."""
    with gateway(tmp_path, LIMITS + 'pairs = ["ETH/USDT"]\n'):
        told = command(tmp_path, *BUY, "40", "--price", "100", "--json")
        assert (told.code, told.json()["outcome"]) == (1, "denied")
        assert told.json()["codes"] == ["pair_not_allowed", "notional_too_large"]
        people = command(tmp_path, *BUY, "40", "--price", "100")
        assert people.code == 1
        assert "✗ pair_not_allowed" in people.out
        assert "It would be denied:" in people.out


def test_an_order_that_would_wait_for_a_person_is_told_so(tmp_path: Path) -> None:
    """Neither sent nor denied."""
    with gateway(tmp_path, LIMITS + 'approval_above = "50"\n'):
        told = command(tmp_path, *BUY, "1")
        assert told.code == 0
        assert "wait for a person" in told.out


def test_a_sell_is_held_against_the_rules_of_exits(tmp_path: Path) -> None:
    """Nothing is held here, and that alone is told."""
    with gateway(tmp_path):
        told = command(tmp_path, "policy", "explain", "agent-a", "BTC/USDT", "sell", "1", "--json")
        assert told.json()["codes"] == ["nothing_to_sell"]
        wanted = [one.code for one in RULES if one.binding("sell")]
        assert [one["rule"] for one in told.json()["rules"]] == wanted


@pytest.mark.parametrize(
    "words",
    [("agent-a", "btc", "buy", "1"), ("agent-a", "BTC/USDT", "buy", "--", "-1"),
     ("", "BTC/USDT", "buy", "1"), ("agent-a", "BTC/USDT", "buy", "1", "--price", "0")],
)  # fmt: skip
def test_what_can_be_no_order_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    """Before the bot is asked about it."""
    with gateway(tmp_path):
        told = command(tmp_path, "policy", "explain", "--json", *words)
        assert (told.code, told.out) == (1, "")
        assert told.err.startswith("request_invalid: ")


def test_every_verb_of_the_policy_has_a_command() -> None:
    """What the socket answers somebody must be able to ask."""
    source = (PACKAGE / "cli/policy.py").read_text(encoding="utf-8")
    assert all(f'"{verb}"' in source for verb in VERBS if verb.startswith("policy."))


def test_a_name_that_nothing_knows_is_told_and_nothing_is_refused(tmp_path: Path) -> None:
    """It may be a typo, of whoever halts or asks; what is known is not told."""
    with gateway(tmp_path, LIMITS + "[agents.known]\nrepeats = 8\n"):
        told = command(tmp_path, "halt", "--agent", "signal-agnt", "--reason", "x")
        assert (told.code, "Halted: " in told.out) == (0, True)
        assert "names agent 'signal-agnt'" in told.err
        assert command(tmp_path, "halt", "--agent", "known", "--reason", "x").err == ""
        assert command(tmp_path, "halt", "--pair", "BTC/USDT", "--reason", "x").err == ""
        pair = command(tmp_path, "halt", "--pair", "BTC/USDC", "--reason", "x")
        assert (pair.code, pair.err) == (0, "! the bot's whitelist does not have 'BTC/USDC'\n")
        assert "names agent 'agent-a'" in command(tmp_path, *BUY, "1").err


def test_faults_are_told_in_plain_words(tmp_path: Path) -> None:
    """Not in those of the library that finds them; a sign is a likely slip."""
    path = written(tmp_path, '[defaults]\ndaily_loss = "-200"\norder_notional = "x"\nrepeats = 0\n')
    told = command(tmp_path, "policy", "check", str(path)).out
    assert "; a loss is written without a sign\n" in told
    assert "order_notional: a number or a decimal string" in told
    assert "hould" not in told
    written(tmp_path, LIMITS + '[total]\nnotional = "100"\n')
    told = command(tmp_path, "policy", "check", str(path)).out
    assert "! defaults: order_notional is above notional of [total]" in told
    folder = command(tmp_path, "policy", "check", str(tmp_path))
    assert (folder.code, "is a folder" in folder.err) == (2, True)
