"""Where races are run: gateway processes on one store, and a bot whose wallet can run out."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2

from tests.proofs.stage import BotOnPort, Engine, Stores, of_this_moment, on_port
from tests.support.processes import Serving, environment, token
from tests.support.tradingbot import TradingBot
from tests.support.wires import signing

AGENTS: Final = tuple(f"agent-{number}" for number in range(8))
PAIRS: Final = tuple(
    f"{base}/USDT" for base in ("BTC", "ETH", "XRP", "SOL", "ADA", "DOT", "LTC", "UNI")
)
PROCESSES: Final[dict[Engine, int]] = {"sqlite": 1, "postgresql": 2}
CALL_S: Final = 30.0
PLENTY: Final = 100_000.0
POLICY: Final = """
[markets."*/USDT"]
lot_step = "0.00001"
minimum_stake = "5"
"""
SETTINGS: Final = {
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "1000000",
}  # fmt: skip


@dataclass
class PurseBot(TradingBot):
    """What an open trade has cost is gone from the wallet; ``total`` is what it is all worth."""

    wallet: float = PLENTY
    total: float = PLENTY

    def _balance(self) -> dict[str, Any]:
        bought = [
            one for trade in self.status for one in trade["orders"] if one["ft_order_side"] == "buy"
        ]
        self.free = self.wallet - sum(one["amount"] * one["safe_price"] for one in bought)
        return super()._balance() | {"total": self.total}

    def start_over(self, *, slots: int = 8, wallet: float = PLENTY, total: float = PLENTY) -> None:
        """Forget every trade."""
        self.status.clear()
        self.closed.clear()
        self.posts.clear()
        self.cancels.clear()
        self.max_open_trades, self.wallet, self.total = slots, wallet, total


@dataclass
class Stage:
    """Callers of one or two gateways, in turn, and the bot behind them."""

    engine: Engine
    url: str
    bot: PurseBot
    port: BotOnPort
    gateways: list[httpx2.AsyncClient]
    request_ids: list[str] = field(default_factory=list)

    def gateway(self, number: int) -> httpx2.AsyncClient:
        """Return the gateway of a caller."""
        return self.gateways[number % len(self.gateways)]


@asynccontextmanager
async def stage(engine: Engine, stores: Stores, folder: Path) -> AsyncIterator[Stage]:
    """Start a bot, a store and the gateways; stop them in order."""
    (folder / "policy.toml").write_text(POLICY)
    folders = [folder / str(number) for number in range(PROCESSES[engine])]
    for one in folders:
        one.mkdir()
    bot = of_this_moment(PurseBot, pairs=PAIRS)
    async with on_port(bot) as port:
        with stores.new(engine, folders[0]) as url:
            env = SETTINGS | {
                "FREQTRADE_URL": port.url, "DATABASE_URL": url,
                "MCP_GATEWAY_POLICY": str(folder / "policy.toml"),
            }  # fmt: skip
            async with _gateways(folders, env) as gateways:
                yield Stage(engine, url, bot, port, gateways)


@asynccontextmanager
async def _gateways(
    folders: list[Path], env: dict[str, str]
) -> AsyncIterator[list[httpx2.AsyncClient]]:
    auth = signing(token(act_for=AGENTS))
    served: list[Serving] = []
    clients: list[httpx2.AsyncClient] = []
    try:
        for folder in folders:
            own = environment(folder, **env)
            served.append(await anyio.to_thread.run_sync(Serving, folder, own))
            clients.append(
                httpx2.AsyncClient(
                    base_url=f"{served[-1].rest_url}/", auth=auth, timeout=CALL_S, trust_env=False
                )
            )
        yield clients
    finally:
        with anyio.CancelScope(shield=True):
            for client in clients:
                await client.aclose()
            for one in served:
                one.signal(signal.SIGTERM)
                await anyio.to_thread.run_sync(one.close)
