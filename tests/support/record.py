"""Record what a real Freqtrade answers, for the tests of its client.

    python -m tests.support.record http://127.0.0.1:8080 USER PASSWORD

The bot must be in dry-run with two free slots (max_open_trades 2), must trade BTC/USDT and
ETH/USDT for USDT, and must allow entries through its API. It is paused for a moment and
left without open trades.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson

RECORDED = Path(__file__).parent.parent / "recorded" / "freqtrade-2026.9.json"
PAIR, OTHER = "BTC/USDT", "ETH/USDT"


class Recorder:
    """Calls the bot and keeps each answer under a name."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.answers: list[dict[str, Any]] = []
        self._http = httpx2.Client(
            base_url=f"{url}/api/v1/",
            auth=(username, password),
            timeout=60,
            # A 500 drops the kept connection, so none is kept.
            limits=httpx2.Limits(max_keepalive_connections=0),
            trust_env=False,
        )

    def call(self, name: str, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Keep the answer to one call and return its JSON, or its text."""
        got = self._http.request(method, path, json=body, **more)
        is_json = got.headers["content-type"].startswith("application/json")
        told = got.json() if is_json else got.text
        self.answers.append(
            {
                "name": name,
                "method": method,
                "path": path,
                "sent": body,
                "status": got.status_code,
                "content_type": got.headers["content-type"],
                "body": told,
            }
        )
        print(f"{got.status_code} {name}")
        return told

    def read(self, name: str, path: str, **more: Any) -> Any:
        """Keep the answer to a GET."""
        return self.call(name, "GET", path, **more)

    def enter(self, name: str, **body: Any) -> Any:
        """Keep the answer to an entry."""
        return self.call(name, "POST", "forceenter", body)

    def cancel(self, name: str, trade_id: int) -> Any:
        """Keep the answer to a cancel."""
        return self.call(name, "DELETE", f"trades/{trade_id}/open-order")

    def exit(self, name: str, **body: Any) -> Any:
        """Keep the answer to an exit."""
        return self.call(name, "POST", "forceexit", body)


def record(bot: Recorder) -> None:
    """Walk through the bot: what it says idle, holding, refusing and paused."""
    for path in ("show_config", "health", "whitelist", "blacklist", "locks", "balance", "status"):
        bot.read(path, path)
    _candles(bot)
    bot.read("trade unknown", "trade/999999")
    bot.read("wrong state", "available_pairs")
    bot.read("wrong password", "status", auth=("nobody", "nothing"))
    bot.enter("enter unknown pair", pair="NOPE/USDT")
    bot.enter("enter wrong quote", pair="ETH/BTC")
    bot.enter("enter short", pair=PAIR, side="short")
    bot.enter("enter dust", pair=PAIR, stakeamount=1)
    bot.enter("enter without pair")
    _trading(bot)
    _cancelling(bot)
    bot.call("pause", "POST", "pause")
    bot.enter("enter while paused", pair=OTHER)
    bot.call("start", "POST", "start")


def _candles(bot: Recorder) -> None:
    asked = {"pair": PAIR, "timeframe": "5m", "limit": 4}
    bot.read("candles", "pair_candles", params=asked)
    bot.read("candles of another timeframe", "pair_candles", params=asked | {"timeframe": "1h"})
    bot.read("candles of no timeframe", "pair_candles", params=asked | {"timeframe": "7x"})
    bot.read("candles unasked", "pair_candles")


def _trading(bot: Recorder) -> None:
    tag = "gw:0123456789abcdef"
    held = bot.enter("enter", pair=PAIR, ordertype="market", stakeamount=50, entry_tag=tag)
    bot.enter("enter again", pair=PAIR, ordertype="market", stakeamount=50)
    resting = bot.enter(
        "enter resting", pair=OTHER, ordertype="limit", price=1000, stakeamount=50, entry_tag="gw:2"
    )
    bot.enter("enter without slot", pair="SOL/USDT", ordertype="market", stakeamount=50)
    bot.read("status while holding", "status")
    bot.read("balance while holding", "balance")
    bot.exit("exit unfilled entry", tradeid=resting["trade_id"], ordertype="market")
    bot.read("status after that", "status")
    bot.exit("exit unknown trade", tradeid=999999)
    amount = held["amount"]
    bot.exit("exit partly", tradeid=held["trade_id"], amount=amount / 4, ordertype="market")
    bot.exit("exit but dust", tradeid=held["trade_id"], amount=amount * 0.7, ordertype="market")
    bot.read("trade open", f"trade/{held['trade_id']}")
    bot.exit("exit", tradeid=held["trade_id"], ordertype="market")
    bot.read("trade closed", f"trade/{held['trade_id']}")
    bot.read("trades", "trades", params={"limit": 2, "order_by_id": "false"})


def _cancelling(bot: Recorder) -> None:
    resting = {"pair": OTHER, "ordertype": "limit", "price": 1000, "stakeamount": 50}
    bot.cancel("cancel unfilled entry", bot.enter("enter to cancel", **resting)["trade_id"])
    bot.cancel("cancel unknown trade", 999999)
    held = bot.enter("enter to leave", pair=PAIR, ordertype="market", stakeamount=50)["trade_id"]
    bot.cancel("cancel without open order", held)
    bot.exit("exit resting", tradeid=held, ordertype="limit", price=999999)
    bot.read("trade with resting exit", f"trade/{held}")
    bot.cancel("cancel resting exit", held)
    bot.exit("exit after cancel", tradeid=held, ordertype="market")
    bot.cancel("cancel in closed trade", held)


def _arguments(given: list[str]) -> Iterator[str]:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "username", "password"):
        parser.add_argument(name)
    told = parser.parse_args(given)
    yield from (told.url, told.username, told.password)


if __name__ == "__main__":
    recorder = Recorder(*_arguments(sys.argv[1:]))
    record(recorder)
    RECORDED.write_bytes(orjson.dumps(recorder.answers, option=orjson.OPT_INDENT_2) + b"\n")
