"""`mcp-gateway doctor`: every part looked at, and what to do where it is not well."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from mcp_gateway.access.clients import hash_password
from mcp_gateway.clock import Clock
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.risk.document import load_policy
from tests.support import keys
from tests.support.commands import BOT_PASSWORD, bot_served, command, trading_bot
from tests.support.issuers import ed25519, issuers_file, written
from tests.support.policy import POLICY_FILE
from tests.support.servers import Child, Server
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration
KEYS = {
    "JWT_SECRET": "jwt-canary-" + "a" * 32,
    "HMAC_SECRET": "hmac-canary-" + "b" * 32,
    "MCP_GATEWAY_SUBJECT": "signal-agent",
    "MCP_GATEWAY_POLICY": str(POLICY_FILE),
}


@pytest.fixture
def bot() -> TradingBot:
    """A bot that a test may make ill before it is looked at."""
    return trading_bot()


@pytest.fixture
def well(bot: TradingBot) -> Iterator[dict[str, str]]:
    """An environment in which nothing is wrong."""
    with bot_served(bot) as reaching:
        yield KEYS | reaching


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def findings(folder: Path, environment: dict[str, str], *words: str) -> tuple[int, list[Any]]:
    told = command(folder, "doctor", "--json", *words, **environment)
    assert told.out.count("\n") == 1
    assert "canary" not in told.out + told.err
    found: list[Any] = told.json()
    return told.code, found


def ill(found: list[Any]) -> list[tuple[str, str]]:
    return [(one["part"], one["level"]) for one in found if one["level"] != "ok"]


def only(found: list[Any], part: str, level: str) -> Any:
    """Return the one finding that is not well; it must be this one."""
    assert ill(found) == [(part, level)]
    return next(one for one in found if one["level"] == level)


def test_when_all_is_well_every_part_says_so(tmp_path: Path, well: dict[str, str]) -> None:
    """Exit code 0; configuration, keys, folder, Redis, database, bot and markets named."""
    code, found = findings(tmp_path, well)
    assert (code, ill(found)) == (0, [])
    assert [one["part"] for one in found] == [
        "configuration", "keys", "data folder", "redis", "database", "freqtrade",
        "markets",
    ]  # fmt: skip


def test_all_is_well_with_real_servers_too(
    tmp_path: Path, well: dict[str, str], redis_server: Server, postgres_url: str
) -> None:
    """A Redis that answers and a PostgreSQL that is set up."""
    given = well | {"REDIS_URL": redis_server.url, "DATABASE_URL": postgres_url}
    code, found = findings(tmp_path, given)
    assert code == 1
    assert "db upgrade" in only(found, "database", "fault")["hint"]
    assert command(tmp_path, "db", "upgrade", **given).code == 0
    assert findings(tmp_path, given)[0] == 0


def test_it_is_readable_for_people(tmp_path: Path, well: dict[str, str], bot: TradingBot) -> None:
    """A mark, a sentence, and a hint beneath what is not well."""
    bot.state = "paused"
    told = command(tmp_path, "doctor", **well)
    assert told.code == 0
    assert "✓ configuration: " in told.out
    assert "! freqtrade: the bot is paused\n    Start it" in told.out


def test_a_bot_that_is_not_there(tmp_path: Path, well: dict[str, str], closed_port: int) -> None:
    """A fault with the address that was tried; the rest is looked at all the same."""
    url = f"http://127.0.0.1:{closed_port}"
    code, found = findings(tmp_path, well | {"FREQTRADE_URL": url})
    assert code == 1
    assert url in only(found, "freqtrade", "fault")["message"]


def test_wrong_credentials(tmp_path: Path, well: dict[str, str]) -> None:
    """Named as such, and the password is not told."""
    code, found = findings(tmp_path, well | {"FREQTRADE_PASSWORD": BOT_PASSWORD + "x"})
    assert code == 1
    fault = only(found, "freqtrade", "fault")
    assert "FREQTRADE_USERNAME" in fault["hint"] + fault["message"]


@pytest.mark.parametrize(
    ("illness", "word"),
    [
        ({"dry_run": False}, "live"),
        ({"state": "paused"}, "paused"),
        ({"state": "stopped"}, "stopped"),
        ({"force_entry": False}, "force_entry_enable"),
        ({"spot": False}, "futures"),
        ({"timeframe": "1M"}, "1M"),
        ({"started_at": (Clock().now() - timedelta(minutes=5)).isoformat()}, "loop"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_bot_that_would_deny_orders_is_a_warning(
    illness: dict[str, Any], word: str, tmp_path: Path, well: dict[str, str], bot: TradingBot
) -> None:
    """Reads go on, so the gateway may start; the operator is told what will be denied."""
    for name, value in illness.items():
        setattr(bot, name, value)
    code, found = findings(tmp_path, well)
    assert code == 0
    assert word in only(found, "freqtrade", "warning")["message"]


@pytest.mark.parametrize(
    ("declared", "dry_run", "word"),
    [("live", True, "denied"), ("dry-run", False, "denied"), ("live", False, "real money")],
    ids=["dry_bot", "live_bot", "both_live"],
)
def test_real_money_is_told_and_so_is_disagreement(
    declared: str, dry_run: bool, word: str, tmp_path: Path, well: dict[str, str], bot: TradingBot
) -> None:
    """Which of the two is which, and what to set; where both are live, that they are."""
    bot.dry_run = dry_run
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_MODE": declared})
    assert code == 0
    warning = only(found, "freqtrade", "warning")
    assert word in warning["message"]
    if word == "denied":
        assert f"dry_run: {'true' if declared == 'dry-run' else 'false'}" in warning["hint"]
        assert f"MCP_GATEWAY_MODE={'dry-run' if dry_run else 'live'}" in warning["hint"]


def test_real_money_without_a_policy_is_a_fault(tmp_path: Path, well: dict[str, str]) -> None:
    """The gateway would not start; exit code 2, and nothing else is looked at."""
    del well["MCP_GATEWAY_POLICY"]
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_MODE": "live"})
    assert code == 2
    assert "MCP_GATEWAY_POLICY" in only(found, "configuration", "fault")["message"]


def test_no_key_is_a_warning(tmp_path: Path, well: dict[str, str]) -> None:
    """Over HTTP no order would be accepted."""
    del well["HMAC_SECRET"]
    code, found = findings(tmp_path, well)
    assert code == 0
    assert "keys new" in only(found, "keys", "warning")["hint"]


def test_the_keys_of_the_file_are_counted_and_their_ends_told(
    tmp_path: Path, well: dict[str, str]
) -> None:
    """An agent whose key ends on a Sunday is an agent that stops."""
    now = Clock().now()
    kept = [keys.record(at=now), keys.record("mover", now, not_after=now + keys.days(3))]
    path = keys.written(tmp_path / "signing" / "keys.json", *kept)
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_KEYS_FILE": str(path)})
    assert code == 0
    assert kept[1].key_id in only(found, "keys", "warning")["hint"]
    told = [one["message"] for one in found if (one["part"], one["level"]) == ("keys", "ok")]
    assert any("2 live keys" in message for message in told)


def test_a_keys_file_that_others_can_read_is_a_fault(tmp_path: Path, well: dict[str, str]) -> None:
    """The gateway would not start with it; the sentence says what to do."""
    path = keys.written(tmp_path / "signing" / "keys.json", keys.record(at=Clock().now()))
    path.chmod(0o644)
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_KEYS_FILE": str(path)})
    assert code == 1
    assert "chmod 600" in only(found, "keys", "fault")["message"]


def test_the_replayable_form_is_a_warning(tmp_path: Path, well: dict[str, str]) -> None:
    """For as long as it is switched on."""
    _, found = findings(tmp_path, well | {"MCP_GATEWAY_LEGACY_SIGNATURE": "true"})
    assert "replayed" in only(found, "keys", "warning")["message"]


def test_a_redis_that_is_down(tmp_path: Path, well: dict[str, str], closed_port: int) -> None:
    """A fault, with the variables to look at."""
    given = well | {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(closed_port)}
    code, found = findings(tmp_path, given)
    assert code == 1
    assert "REDIS_HOST" in only(found, "redis", "fault")["hint"]


def test_a_redis_that_evicts_is_a_warning(
    tmp_path: Path, well: dict[str, str], own_redis: Child
) -> None:
    """What it forgets under pressure may be a nonce."""
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
    code, found = findings(tmp_path, well | {"REDIS_URL": own_redis.url})
    assert code == 0
    assert "noeviction" in only(found, "redis", "warning")["hint"]


def test_a_postgresql_that_is_down(tmp_path: Path, well: dict[str, str], closed_port: int) -> None:
    """A fault that names it; SQLite is not looked at in its place."""
    url = f"postgresql://u:canary@127.0.0.1:{closed_port}/d"
    alone = {"DATABASE_URL": url, "MCP_GATEWAY_SINGLE_PROCESS": "true"}
    code, found = findings(tmp_path, well | alone)
    assert code == 1
    found = [one for one in found if one["part"] != "redis"]
    assert "PostgreSQL" in only(found, "database", "fault")["message"]


def test_postgresql_without_redis(tmp_path: Path, well: dict[str, str], closed_port: int) -> None:
    """Refused unless one process is all there is, and even then told: a second would be replayed."""
    given = well | {"DATABASE_URL": f"postgresql://u:canary@127.0.0.1:{closed_port}/d"}
    code, found = findings(tmp_path, given)
    assert code == 2
    assert "MCP_GATEWAY_SINGLE_PROCESS" in only(found, "configuration", "fault")["message"]
    _, found = findings(tmp_path, given | {"MCP_GATEWAY_SINGLE_PROCESS": "true"})
    found = [one for one in found if one["part"] != "database"]
    assert "REDIS_URL" in only(found, "redis", "warning")["hint"]


def test_a_wrong_configuration_is_told_whole(tmp_path: Path) -> None:
    """Every fault a finding; nothing else can be looked at. Exit code 2, as at every start."""
    code, found = findings(tmp_path, {
        "REDIS_PORT": "x", "FREQTRADE_URL": "canary",
        "MCP_GATEWAY_POLICY": str(tmp_path / "missing.toml"),
    })  # fmt: skip
    assert code == 2
    assert ill(found) == [("configuration", "fault")] * 4
    names = {one["message"].partition(":")[0] for one in found}
    assert names == {"REDIS_PORT", "FREQTRADE_URL", "JWT_SECRET", "MCP_GATEWAY_POLICY"}


def test_stdio_needs_no_secret(tmp_path: Path, well: dict[str, str]) -> None:
    """--for stdio asks for less than --for serve."""
    del well["JWT_SECRET"]
    assert findings(tmp_path, well)[0] == 2
    assert findings(tmp_path, well, "--for", "stdio")[0] == 0


def test_a_data_folder_that_cannot_be_made(tmp_path: Path, well: dict[str, str]) -> None:
    """Told before the store fails on it."""
    (tmp_path / "file").write_text("")
    given = well | {"MCP_GATEWAY_DATA_DIR": str(tmp_path / "file" / "data")}
    code, found = findings(tmp_path, given)
    assert code == 1
    assert ("data folder", "fault") in ill(found)


def test_pairs_without_a_step_or_a_minimum_are_a_warning_with_the_lines_to_add(
    tmp_path: Path, well: dict[str, str], bot: TradingBot
) -> None:
    """What an agent would be told, and what keeps it from being told so, pair by pair."""
    bot.pairs = ("BTC/USDT", "ETH/USDT", "SOL/EUR")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[markets."*/USDT"]\nminimum_stake = 5\n[markets."BTC/USDT"]\nlot_step = "0.00001"\n'
    )
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_POLICY": str(policy)})
    assert code == 0
    told = only(found, "markets", "warning")
    assert "2 of 3 pairs" in told["message"]
    assert "market_unknown" in told["message"]
    _, *lines = told["hint"].splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        '[markets."ETH/USDT"]', "lot_step",
        '[markets."SOL/EUR"]', "lot_step", "minimum_stake",
    ]  # fmt: skip
    policy.write_text(policy.read_text() + "\n".join(lines).replace('""', '"0.1"'))
    assert ill(findings(tmp_path, well | {"MCP_GATEWAY_POLICY": str(policy)})[1]) == []


def test_lines_that_were_added_and_not_filled_in_are_faults(
    tmp_path: Path, well: dict[str, str]
) -> None:
    """Pasted as they are, they must not pass for numbers."""
    del well["MCP_GATEWAY_POLICY"]
    told = only(findings(tmp_path, well)[1], "markets", "warning")
    _, *lines = told["hint"].splitlines()
    policy = tmp_path / "policy.toml"
    policy.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError) as refused:
        load_policy(policy)
    assert len(refused.value.faults) == 4


def test_lines_to_add_are_set_off_for_people(tmp_path: Path, well: dict[str, str]) -> None:
    """Each on a line of its own, beneath the finding."""
    del well["MCP_GATEWAY_POLICY"]
    told = command(tmp_path, "doctor", **well)
    assert '\n    [markets."ETH/USDT"]\n    lot_step = ""' in told.out


def test_a_futures_bots_markets_are_not_looked_at(
    tmp_path: Path, well: dict[str, str], bot: TradingBot
) -> None:
    """It is served reads only, so nobody needs them."""
    bot.spot = False
    del well["MCP_GATEWAY_POLICY"]
    only(findings(tmp_path, well)[1], "freqtrade", "warning")


def test_an_issuer_that_does_not_tell_its_keys_is_named(
    tmp_path: Path, well: dict[str, str], closed_port: int
) -> None:
    """Its agents would all be refused; another issuer's keys are there, and that is said too."""
    url = f"http://127.0.0.1:{closed_port}/jwks.json"
    written(tmp_path, "desk.pem", ed25519().pem)
    path = issuers_file(
        tmp_path,
        desk={"issuer": "https://desk.example", "algorithm": "EdDSA", "key_file": "desk.pem"},
        floor={"issuer": "https://floor.example", "algorithm": "ES256", "jwks_url": url},
    )
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_ISSUERS_FILE": str(path)})
    assert code == 1
    told = only(found, "issuers", "fault")
    assert told["message"].startswith("floor: no connection")
    assert [one["message"] for one in found if one["part"] == "issuers"] == [
        "desk: 1 key(s) of https://desk.example", told["message"]
    ]  # fmt: skip


def test_a_faulty_issuers_file_is_told_as_configuration(
    tmp_path: Path, well: dict[str, str]
) -> None:
    """By issuer and field, with exit code 2, before anything else is looked at."""
    path = issuers_file(tmp_path, desk={"issuer": "https://desk.example", "algorithm": "HS256"})
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_ISSUERS_FILE": str(path)})
    assert code == 2
    assert "MCP_GATEWAY_ISSUERS_FILE: issuers.desk: algorithm: one of EdDSA ES256 RS256" in [
        one["message"] for one in found
    ]


def clients_file(folder: Path, password: str) -> Path:
    path = folder / "clients.toml"
    path.write_text(f'[clients.desk]\npassword = "{password}"\nscopes = ["market:read"]\n')
    path.chmod(0o600)
    return path


def test_a_clients_file_that_serve_refuses_is_a_fault(tmp_path: Path, well: dict[str, str]) -> None:
    """The same checks as at the start; stdio has no clients."""
    given = well | {"MCP_GATEWAY_CLIENTS_FILE": str(clients_file(tmp_path, "plain"))}
    code, found = findings(tmp_path, given)
    assert code == 2
    assert "clients.desk: password" in only(found, "configuration", "fault")["message"]
    assert findings(tmp_path, given, "--for", "stdio")[0] == 0
    served = command(tmp_path, "serve", "--port", "0", **given)
    assert (served.code, "clients.desk: password" in served.err) == (2, True)


def test_a_clients_file_that_is_well_has_its_line(tmp_path: Path, well: dict[str, str]) -> None:
    """An operator sees that it was looked at."""
    path = clients_file(tmp_path, hash_password("correct-horse"))
    code, found = findings(tmp_path, well | {"MCP_GATEWAY_CLIENTS_FILE": str(path)})
    assert (code, ill(found)) == (0, [])
    assert [str(path) in one["message"] for one in found if one["part"] == "clients"] == [True]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_an_env_file_that_others_can_read_is_a_warning(
    tmp_path: Path, well: dict[str, str], mode: int
) -> None:
    """Secrets stand in it; closed, it is not worth a word."""
    (tmp_path / ".env").write_text("LOG_LEVEL=INFO\n")
    (tmp_path / ".env").chmod(mode)
    told = only(findings(tmp_path, well)[1], "configuration", "warning")
    assert (".env" in told["message"], told["hint"]) == (True, "chmod 600 .env")
    (tmp_path / ".env").chmod(0o600)
    assert ill(findings(tmp_path, well)[1]) == []
