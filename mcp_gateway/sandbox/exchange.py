"""A loopback stand-in for the Binance spot REST API, as far as a dry-run Freqtrade asks.

Under ``/api/v3`` stands what ccxt calls, under ``/control`` what tests need (never part
of Binance): GET ``state``; POST ``faults``, ``shock``, ``reset``. It runs as
``python -m mcp_gateway.sandbox.exchange --port N`` (0: any free one), prints one JSON line
with its URL once it listens, and listens on 127.0.0.1 only.
"""

import argparse
import json
import socket
import sys
from collections import Counter
from typing import TypeVar

import uvicorn
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcp_gateway.clock import Clock
from mcp_gateway.sandbox.binance import MINUTE_MS, Binance, Refused, listed
from mcp_gateway.sandbox.faults import Fault, Faults, Shock
from mcp_gateway.sandbox.market import LISTINGS, Market

LOOPBACK = "127.0.0.1"
UNEXPECTED = -1000  # Binance's code for an error of its own
BACKLOG = 128

Body = TypeVar("Body", bound=BaseModel)


class Exchange:
    """The simulated exchange; ``app`` is its ASGI application."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._market = Market()
        self._faults = Faults()
        self._calls: Counter[str] = Counter()
        self.app = Starlette(
            routes=[
                Route("/api/v3/{path:path}", self._api),
                Route("/control/state", self._state),
                Route("/control/{what}", self._control, methods=["POST"]),
            ]
        )

    async def _api(self, request: Request) -> Response:
        path = request.path_params["path"]
        self._calls[path] += 1
        if fault := self._faults.take(path):
            await self._clock.sleep(fault.delay_s)
            if fault.drop:
                request.state.abort()
            if fault.status is not None:
                return _refused(fault.status, UNEXPECTED, "A fault was asked for.")
        try:
            return JSONResponse(self._binance().answer(path, request.query_params))
        except Refused as refusal:
            return _refused(400, refusal.code, refusal.message)
        except KeyError:
            return _refused(404, UNEXPECTED, "This call is not simulated.")

    async def _state(self, _: Request) -> Response:
        binance = self._binance()
        prices = {name: f"{binance.price(listing):f}" for name, listing in LISTINGS.items()}
        calls, faults = dict(self._calls), self._faults.left()
        return JSONResponse({"prices": prices, "calls": calls, "faults": faults})

    async def _control(self, request: Request) -> Response:
        match request.path_params["what"]:
            case "faults":
                self._faults.add(await _body(request, Fault))
            case "shock":
                await self._shock(await _body(request, Shock))
            case "reset":
                self._market.reset()
                self._faults.reset()
                self._calls.clear()
            case _:
                raise HTTPException(404)
        return await self._state(request)

    async def _shock(self, shock: Shock) -> None:
        try:
            symbol = listed(shock.symbol).symbol
        except Refused as refusal:
            raise HTTPException(422, refusal.message) from None
        self._market.shock(symbol, shock.factor, self._now_ms() // MINUTE_MS)

    def _binance(self) -> Binance:
        return Binance(self._market, self._now_ms())

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


class AbortableProtocol(HttpToolsProtocol):
    """HTTP of uvicorn whose requests can reset their connection: ``request.state.abort()``."""

    def on_message_begin(self) -> None:
        """Put the transport's abort into the state of the request."""
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort


def _refused(status: int, code: int, message: str) -> Response:
    return JSONResponse({"code": code, "msg": message}, status)


async def _body(request: Request, model: type[Body]) -> Body:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise HTTPException(422, str(error)) from None


def main(arguments: list[str] | None = None) -> None:
    """Serve until a signal comes; the one line on stdout says where."""
    parser = argparse.ArgumentParser(prog="mcp_gateway.sandbox.exchange")
    parser.add_argument("--port", type=int, default=0)
    port = parser.parse_args(arguments).port
    with socket.create_server((LOOPBACK, port), backlog=BACKLOG) as listener:
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            Exchange(Clock()).app,
            http=AbortableProtocol,
            ws="none",
            log_level="warning",
            access_log=False,
        )
        # Calls from now on wait in the backlog until the server takes them.
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
