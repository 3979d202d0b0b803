"""The resources: what an agent can read by name, as JSON."""

from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from mcp.server import MCPServer
from pydantic import TypeAdapter, ValidationError

from mcp_gateway.clock import iso
from mcp_gateway.domain.market import TimeframeName, base_and_quote
from mcp_gateway.domain.orders import PairName
from mcp_gateway.errors import NotFound, RequestInvalid
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports import documents
from mcp_gateway.transports.admission import current_admission
from mcp_gateway.transports.mcp import results
from mcp_gateway.transports.mcp.completion import served_timeframes
from mcp_gateway.transports.mcp.tools import DEFAULT_CANDLES, account

JSON: Final = "application/json"
# A percent-encoded slash arrives decoded, so a pair is one variable.
_PAIR: Final[TypeAdapter[str]] = TypeAdapter(PairName)
_TIMEFRAME: Final[TypeAdapter[str]] = TypeAdapter(TimeframeName)
_REQUEST_ID: Final[TypeAdapter[UUID]] = TypeAdapter(Annotated[UUID, "request_id"])
Part = TypeVar("Part")


def add_resources(server: MCPServer[Any], gateway: Gateway) -> None:
    """Register every resource; the gated server has admitted the caller before one is read."""
    _add_market(server, gateway)
    _add_positions(server, gateway)
    _add_own(server, gateway)


def _add_market(server: MCPServer[Any], gateway: Gateway) -> None:
    @server.resource("freqtrade://pairs", title="Pairs that the bot trades", mime_type=JSON)
    async def pairs() -> str:
        """The bot's whitelist, and the timeframes that get_candles serves."""
        traded = await gateway.market.pairs(current_admission())
        own = (await gateway.market.bot_state()).timeframe
        return results.text(
            {
                "pairs": list(traded.names),
                "timeframe": own,
                "timeframes": served_timeframes(own),
                "as_of": iso(traded.as_of),
                "source": traded.source,
            }
        )

    @server.resource("freqtrade://pairs/{pair}", title="One pair", mime_type=JSON)
    async def one_pair(pair: str) -> str:
        """Base, quote, last price and its age of one pair; BTC%2FUSDT for BTC/USDT."""
        name = _part("pair", _PAIR, pair)
        if name not in (await gateway.market.pairs(current_admission())).names:
            raise NotFound("The bot does not trade this pair.", code="pair_unknown")
        base, quote = base_and_quote(name)
        last = await gateway.market.last_price(name)
        document: dict[str, Any] = {"pair": name, "base": base, "quote": quote}
        if last is not None:
            price, as_of = last
            document["last_price"] = documents.number(price)
            document["price_age_s"] = documents.age_s(as_of, gateway.clock.now())
        return results.text(document)

    @server.resource("freqtrade://candles/{pair}/{timeframe}", title="Candles", mime_type=JSON)
    async def candles(pair: str, timeframe: str) -> str:
        """The newest hundred closed candles, as get_candles answers them."""
        series = await gateway.market.candles(
            current_admission(),
            _part("pair", _PAIR, pair),
            _part("timeframe", _TIMEFRAME, timeframe),
            limit=DEFAULT_CANDLES,
        )
        now = gateway.clock.now()
        return results.text(results.candles(series, now=now, limit=DEFAULT_CANDLES))


def _add_positions(server: MCPServer[Any], gateway: Gateway) -> None:
    @server.resource("freqtrade://positions/open", title="Open positions", mime_type=JSON)
    async def open_positions() -> str:
        """All open positions of the bot, as get_open_positions answers them."""
        held = await gateway.market.positions(current_admission())
        return results.text(documents.positions(held, now=gateway.clock.now()))

    @server.resource("freqtrade://positions/{pair}", title="Positions in a pair", mime_type=JSON)
    async def pair_positions(pair: str) -> str:
        """Open positions in one pair; BTC%2FUSDT for BTC/USDT."""
        held = await gateway.market.positions(current_admission(), _part("pair", _PAIR, pair))
        return results.text(documents.positions(held, now=gateway.clock.now()))


def _add_own(server: MCPServer[Any], gateway: Gateway) -> None:
    @server.resource("gateway://orders/{request_id}", title="One of your orders", mime_type=JSON)
    async def order(request_id: str) -> str:
        """Where one of the caller's orders stands, as get_order answers it."""
        orders = await gateway.orders()
        found = await orders.get(current_admission(), _part("request_id", _REQUEST_ID, request_id))
        return results.text(found)

    @server.resource("gateway://limits", title="Your account and limits", mime_type=JSON)
    async def limits() -> str:
        """Balance, mode and limits, as get_account answers them."""
        return results.text(await account(gateway))


def _part(name: str, kind: TypeAdapter[Part], given: str) -> Part:
    """Read one part of a URI; the refusal names the part, since a URI has no field."""
    try:
        return kind.validate_python(given)
    except ValidationError:
        raise RequestInvalid(f"{name}: a valid {name}", detail={"field": name}) from None
