"""A stand-in for the bot, as a process: the recorded answers of a real Freqtrade over HTTP.

usage: python -m benchmarks.bot

The first line on standard output is the URL. It ends when its standard input does.
"""

import time
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import orjson

from benchmarks.served import serve
from mcp_gateway.domain.market import TIMEFRAMES
from tests.support.recorded import body_of
from tests.support.wirebot import COLUMNS, row

RECORDED = {
    "show_config": "show_config",
    "health": "health",
    "balance": "balance while holding",
    "status": "status while holding",
    "whitelist": "whitelist",
}


@cache
def recorded(endpoint: str) -> bytes:
    """Return a recorded answer as it came over the wire."""
    return orjson.dumps(body_of(RECORDED[endpoint]))


def candles(query: dict[str, list[str]]) -> bytes:
    """Return the newest closed candles; only the bot's own timeframe is served."""
    if query["timeframe"][0] != body_of("show_config")["timeframe"]:
        return orjson.dumps({"columns": COLUMNS, "data": []})
    step_s = TIMEFRAMES[query["timeframe"][0]]
    newest = int(time.time()) // step_s * step_s - step_s
    count = min(1000, int(query["limit"][0]))
    opens = range(newest - (count - 1) * step_s, newest + 1, step_s)
    return orjson.dumps({"columns": COLUMNS, "data": [row(open_s) for open_s in opens]})


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one question of the gateway's."""
    await receive()
    endpoint = scope["path"].removeprefix("/api/v1/")
    if endpoint == "pair_candles":
        body = candles(parse_qs(scope["query_string"].decode()))
    else:
        body = recorded(endpoint)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve(app)
