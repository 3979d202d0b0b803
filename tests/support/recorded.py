"""The recorded answers of a real Freqtrade, by name, and a client that is given them."""

from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

import httpx2
import orjson

from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade.client import FreqtradeClient
from tests.support.record import RECORDED

URL = "http://bot.test"
Answering = (
    Callable[[httpx2.Request], httpx2.Response]
    | Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]
)


@cache
def _answers() -> dict[str, dict[str, Any]]:
    return {answer["name"]: answer for answer in orjson.loads(RECORDED.read_bytes())}


def body_of(name: str) -> Any:
    """Return the JSON, or the text, of a recorded answer; a fresh copy that may be changed."""
    return orjson.loads(orjson.dumps(_answers()[name]["body"]))


def answer(name: str) -> httpx2.Response:
    """Return a recorded answer as it came over the wire."""
    told = _answers()[name]
    body = told["body"]
    return httpx2.Response(
        told["status"],
        headers={"content-type": told["content_type"]},
        content=body if isinstance(body, str) else orjson.dumps(body),
    )


def client(
    answering: Answering,
    *,
    clock: Clock | None = None,
    read_timeout_s: float = 5.0,
    order_timeout_s: float = 5.0,
) -> FreqtradeClient:
    """Return the real client, its network replaced by a function from request to response."""
    return FreqtradeClient(
        URL,
        "user",
        "password",
        pool_size=4,
        read_timeout_s=read_timeout_s,
        order_timeout_s=order_timeout_s,
        clock=clock or Clock(),
        transport=httpx2.MockTransport(answering),
    )


def client_told(name: str) -> FreqtradeClient:
    """Return a client whose every question gets one recorded answer."""
    return client(lambda _: answer(name))
