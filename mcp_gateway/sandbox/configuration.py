"""The sandbox bot's folder: its configuration, its strategy, its database."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mcp_gateway.sandbox.market import PAIRS

STRATEGY = "GatewaySandbox"
TIMEFRAME = "5m"
USERNAME = "sandbox"
WALLET_QUOTE = 10_000
STAKE_QUOTE = 100
MOST_TRADES = 5
LOOP_S = 1
# "other": a bid is matched with the ask, so an order at the book's price fills at once.
BOOK_PRICE = {"price_side": "other", "use_order_book": True, "order_book_top": 1}


@dataclass(frozen=True)
class Access:
    """The one user of the bot's API, with secrets made for this start."""

    username: str
    password: str = field(repr=False)
    ws_token: str = field(repr=False)
    jwt_secret: str = field(repr=False)


def fresh_access() -> Access:
    """Make secrets that no one has seen."""
    return Access(USERNAME, *(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True)
class BotFolder:
    """Where everything lies that the bot reads and writes."""

    path: Path

    @property
    def config(self) -> Path:
        """Freqtrade's configuration; it holds the secrets."""
        return self.path / "config.json"

    @property
    def database(self) -> Path:
        """Freqtrade's trades (SQLite)."""
        return self.path / "trades.sqlite"

    @property
    def log(self) -> Path:
        """What Freqtrade says."""
        return self.path / "freqtrade.log"

    @property
    def exchange_log(self) -> Path:
        """What the simulated exchange says; empty while all is well."""
        return self.path / "exchange.log"

    @property
    def user_data(self) -> Path:
        """Freqtrade's user folder, the strategy in it."""
        return self.path / "user_data"

    def forget_trades(self) -> None:
        """Remove the trades of earlier runs, and nothing else."""
        for ending in ("", "-wal", "-shm"):
            self.database.with_name(self.database.name + ending).unlink(missing_ok=True)

    def write(self, config: Mapping[str, Any]) -> None:
        """Lay out the folder for a start."""
        strategies = self.user_data / "strategies"
        strategies.mkdir(parents=True, exist_ok=True)
        source = resources.files("mcp_gateway.sandbox") / "strategy" / f"{STRATEGY}.py.txt"
        (strategies / f"{STRATEGY}.py").write_text(source.read_text())
        self.config.touch(mode=0o600)
        self.config.chmod(0o600)  # an older one may be open to others
        self.config.write_text(json.dumps(config, indent=2))

    def command(self, python: Path) -> list[str | Path]:
        """Return the command that runs the bot; isolated, so no module of ours leaks in."""
        return [
            python, "-I", "-m", "freqtrade", "trade",
            "--config", self.config, "--userdir", self.user_data,
            "--strategy", STRATEGY, "--db-url", f"sqlite:///{self.database}",
        ]  # fmt: skip


def bot_config(
    port: int, exchange_url: str, access: Access, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Return Freqtrade's configuration for a dry run on the simulated exchange."""
    config = {
        "bot_name": "sandbox",
        "dry_run": True,
        "dry_run_wallet": WALLET_QUOTE,
        "trading_mode": "spot",
        "stake_currency": "USDT",
        "stake_amount": STAKE_QUOTE,
        "max_open_trades": MOST_TRADES,
        "timeframe": TIMEFRAME,
        "initial_state": "running",
        "force_entry_enable": True,
        "cancel_open_orders_on_exit": False,
        "unfilledtimeout": {"entry": 1440, "exit": 1440, "unit": "minutes"},
        "entry_pricing": BOOK_PRICE,
        "exit_pricing": BOOK_PRICE,
        "order_types": {
            "entry": "limit",
            "exit": "limit",
            "stoploss": "market",
            "stoploss_on_exchange": False,
        },
        "exchange": _exchange(exchange_url),
        "pairlists": [{"method": "StaticPairList"}],
        "api_server": _api_server(port, access),
        "internals": {"process_throttle_secs": LOOP_S},
    }
    return merged(config, overrides)


def _exchange(url: str) -> dict[str, Any]:
    return {
        "name": "binance",
        "key": "",
        "secret": "",
        "enable_ws": False,
        "only_from_ccxt": True,
        "pair_whitelist": list(PAIRS),
        "pair_blacklist": [],
        "ccxt_config": {
            "enableRateLimit": False,
            "urls": {"api": {"public": f"{url}/api/v3"}},
            "options": {"fetchMarkets": {"types": ["spot"]}},
        },
    }


def _api_server(port: int, access: Access) -> dict[str, Any]:
    return {
        "enabled": True,
        "listen_ip_address": "127.0.0.1",
        "listen_port": port,
        "verbosity": "error",
        "enable_openapi": False,
        "CORS_origins": [],
        "username": access.username,
        "password": access.password,
        "ws_token": access.ws_token,
        "jwt_secret_key": access.jwt_secret,
    }


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` laid upon it, object by object."""
    whole = dict(base)
    for key, value in over.items():
        below = whole.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            whole[key] = merged(below, value)
        else:
            whole[key] = value
    return whole
