"""`mcp-gateway call`: a person's client, before a whole gateway over HTTP."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.cli.call import _pairs
from mcp_gateway.settings import Settings
from tests.support.commands import (
    BOT_PASSWORD,
    BOT_USER,
    Outcome,
    bot_served,
    command,
    gateway_served,
    trading_bot,
)
from tests.support.policy import POLICY_FILE

pytestmark = pytest.mark.integration
JWT = "jwt-canary-" + "a" * 32
KEY = "hmac-canary-" + "b" * 32
SCOPES = ("market:read", "positions:read", "orders:preview", "orders:create")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a person's shell holds while a gateway runs: its port, a token, a key."""
    folder = tmp_path_factory.mktemp("gateway")
    secrets = {"JWT_SECRET": JWT, "HMAC_SECRET": KEY, "MCP_GATEWAY_SUBJECT": "signal-agent"}
    words = [word for scope in SCOPES for word in ("--scope", scope)]
    token = command(folder, "token", "--subject", "signal-agent", *words, **secrets).out.strip()
    with bot_served(trading_bot()) as bot:
        settings = Settings.apart(
            jwt_secret=JWT, hmac_secret=KEY, subject="signal-agent", data_dir=folder,
            freqtrade_url=bot["FREQTRADE_URL"], freqtrade_username=BOT_USER,
            freqtrade_password=BOT_PASSWORD, rate_limit_per_minute=1000, policy=POLICY_FILE,
        )  # fmt: skip
        with gateway_served(settings) as port:
            yield {
                "MCP_GATEWAY_PORT": str(port), "MCP_GATEWAY_TOKEN": token,
                "HMAC_SECRET": KEY, "MCP_GATEWAY_SUBJECT": "signal-agent",
            }  # fmt: skip


@pytest.fixture
def call(environment: dict[str, str], tmp_path: Path) -> Any:
    """Run ``mcp-gateway call`` in that shell."""

    def run(*words: str, **changes: str) -> Outcome:
        return command(tmp_path, "call", *words, **(environment | changes))

    return run


def test_without_a_tool_it_lists_what_there_is(call: Any) -> None:
    """Tools with their arguments, resources, templates, prompts."""
    told = call("--json")
    assert told.code == 0
    offers = told.json()
    assert "limit" in offers["tools"]["get_candles"]
    assert "freqtrade://pairs" in offers["resources"]
    assert offers["prompts"]["place_order"] == ["pair", "side", "amount"]


def test_a_value_is_json_where_it_is_json_and_else_text(call: Any) -> None:
    """limit=3 is a number, pair=BTC/USDT needs no quotes."""
    told = call("get_candles", "pair=BTC/USDT", "timeframe=5m", "limit=3", "--json")
    assert (told.code, told.json()["count"]) == (0, 3)
    assert told.out.count("\n") == 1
    assert call("get_candles", 'pair="BTC/USDT"', "timeframe=5m", "limit=3").json()["count"] == 3


@pytest.mark.parametrize(
    ("word", "given"),
    [
        ("a=1", 1), ("a=1.50", 1.5), ("a=true", True), ("a=null", None), ("a=x", "x"),
        ("a=", ""), ("a=b=c", "b=c"), ('a="1"', "1"), ("a=[1]", [1]), ("a=BTC/USDT", "BTC/USDT"),
    ],
)  # fmt: skip
def test_words_become_arguments(word: str, given: Any) -> None:
    """The first equals sign parts key and value."""
    assert _pairs((word,)) == {"a": given}


@pytest.mark.parametrize("word", ["limit", "=3"])
def test_a_word_that_is_no_pair_is_misuse(call: Any, word: str) -> None:
    """Exit code 2 before anything is sent."""
    told = call("get_candles", word)
    assert (told.code, told.out) == (2, "")
    assert "KEY=VALUE" in told.err


def test_an_order_is_signed_and_gets_a_request_id(call: Any) -> None:
    """Told on standard error, so that it can be asked for after a lost answer."""
    told = call("create_order", "pair=BTC/USDT", "side=buy", "amount=0.1", "order_type=market")
    assert told.code == 0
    placed = told.json()
    assert placed["outcome"] == "placed"
    assert told.err == f"request_id={placed['request_id']}\n"
    known = call("get_order", f"request_id={placed['request_id']}")
    assert known.json()["order_id"] == placed["order_id"]


def test_a_resting_order_is_cancelled_by_a_signed_call(call: Any) -> None:
    """The answer is the order's state after the cancel."""
    limit = ("order_type=limit", "price=99")
    placed = call("create_order", "pair=ETH/USDT", "side=buy", "amount=0.1", *limit).json()
    gone = call("cancel_order", f"request_id={placed['request_id']}")
    assert (gone.code, gone.json()["status"]) == (0, "cancelled")
    assert gone.json()["order_id"] == placed["order_id"]


def test_a_refusal_is_printed_and_ends_with_1(call: Any) -> None:
    """The whole object, as an agent sees it."""
    told = call("get_candles", "pair=DOGE/USDT", "timeframe=5m")
    assert (told.code, told.json()["code"]) == (1, "pair_unknown")
    told = call("create_order", "pair=BTC/USDT", "request_id=1")
    assert (told.code, told.json()["code"]) == (1, "request_invalid")


def test_resources_and_prompts_are_read_too(call: Any) -> None:
    """--resource and --prompt; their refusals end with 1 as well."""
    assert call("--resource", "freqtrade://pairs").json()["pairs"] == ["BTC/USDT", "ETH/USDT"]
    prompt = call("--prompt", "market_briefing", "pair=ETH/USDT", "timeframe=1h")
    assert prompt.code == 0
    assert prompt.out.startswith("Give a market briefing for ETH/USDT")
    refused = call("--resource", "freqtrade://nothing")
    assert (refused.code, refused.json()["code"]) == (1, "resource_unknown")


def test_a_token_that_is_not_accepted_is_told_with_its_code(call: Any) -> None:
    """The gateway's own words reach the person."""
    told = call("get_account", MCP_GATEWAY_TOKEN="canary.canary.canary")
    assert (told.code, told.json()["code"]) == (1, "token_invalid")
    assert "canary" not in told.out + told.err


@pytest.mark.parametrize("words", [(), ("get_account",), ("--resource", "gateway://limits")])
def test_a_gateway_that_is_not_there_is_told_with_its_address(
    words: tuple[str, ...], call: Any
) -> None:
    """Exit code 1, one sentence and what to do, no traceback."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/mcp"
        told = call(*words, "--url", url)
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"gateway_unreachable: No gateway answers at {url}.\n")
    assert "mcp-gateway serve" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/mcp", "127.0.0.1:8000", "ftp://there/"])
def test_an_address_that_can_not_be_one_is_misuse(url: str, call: Any) -> None:
    """Told at once, with the option's name, rather than from deep within a library."""
    told = call("get_account", "--url", url)
    assert (told.code, told.out) == (2, "")
    assert "Error: --url: " in told.err


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"MCP_GATEWAY_TOKEN": "two words"}, "MCP_GATEWAY_TOKEN"),
        ({"HMAC_SECRET": "canary", "MCP_GATEWAY_SUBJECT": "a"}, "HMAC_SECRET"),
    ],
    ids=["token", "key"],
)
def test_a_token_or_key_that_can_be_none_is_told_by_its_setting(
    tmp_path: Path, changes: dict[str, str], name: str
) -> None:
    """Before anything is sent, and without its text."""
    told = command(tmp_path, "call", **({"MCP_GATEWAY_TOKEN": "token"} | changes))
    assert told.code == 2
    assert f"{name}: " in told.err
    assert "canary" not in told.err
    assert "two words" not in told.err


def test_without_token_and_sandbox_it_says_what_is_missing(tmp_path: Path) -> None:
    """Exit code 2."""
    told = command(tmp_path, "call", "get_account")
    assert (told.code, told.out) == (2, "")
    assert "MCP_GATEWAY_TOKEN:" in told.err


def test_a_running_sandbox_is_found_by_its_file(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Address, token and key out of sandbox.json; nothing has to be set."""
    folder = tmp_path / "mcp-gateway"
    folder.mkdir()
    told = {
        "mcp_url": f"http://127.0.0.1:{environment['MCP_GATEWAY_PORT']}/mcp",
        "token": environment["MCP_GATEWAY_TOKEN"], "key": KEY, "key_id": "signal-agent",
        "data_dir": str(tmp_path), "pid": os.getpid(),
    }  # fmt: skip
    (folder / "sandbox.json").write_text(json.dumps(told))
    unset = {"MCP_GATEWAY_DATA_DIR": ""}
    ran = command(tmp_path, "call", "get_account", "--json", **unset)
    assert ran.json()["mode"] == "dry-run"
    assert "the running sandbox" in ran.err  # nobody trades at another gateway unawares
    url = "http://127.0.0.1:1/mcp"
    elsewhere = command(tmp_path, "call", "get_account", "--url", url, **unset)
    assert elsewhere.code == 2  # its token and signature are for nobody else
    assert "MCP_GATEWAY_TOKEN" in elsewhere.err
    mine = command(tmp_path, "call", "get_account", FREQTRADE_URL="http://127.0.0.1:9", **unset)
    assert mine.code == 2  # who has set up a gateway of their own means that one
    assert "a running sandbox is called only where nothing is set" in mine.err


def test_the_file_of_a_sandbox_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    """SIGKILL leaves the file behind; its process does not live."""
    folder = tmp_path / "mcp-gateway"
    folder.mkdir()
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    told = {"mcp_url": "http://127.0.0.1:1/mcp", "token": "t", "data_dir": ".", "pid": gone.pid}
    (folder / "sandbox.json").write_text(json.dumps(told))
    assert command(tmp_path, "call", "get_account", MCP_GATEWAY_DATA_DIR="").code == 2
