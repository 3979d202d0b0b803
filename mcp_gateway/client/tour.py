"""A scripted agent: every tool, resource and prompt once, shown readably.

It uses the MCP SDK's client and nothing of the gateway's inside, so what it shows is what
any agent sees.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from mcp import Client, MCPError
from mcp.types import CallToolResult

from mcp_gateway.errors import GatewayError

LONGEST_LINE: Final = 116
MOST_LINES: Final = 24
PAIR: Final = "BTC/USDT"
AMOUNT: Final = 0.001
RESTING_PAIR: Final = "ETH/USDT"
RESTING_AMOUNT: Final = 0.02
RESTING_BELOW: Final = 0.97  # of the price: far enough that no second of trading reaches it

Tell = Callable[[str], None]


class TourFailed(GatewayError):
    """A step of the tour did not answer as it must."""

    default_code = "tour_failed"
    default_hint = "Read the answer above; `mcp-gateway doctor` looks at the parts one by one."


@dataclass(slots=True)
class Tour:
    """Walks through a gateway and tells each call and its answer."""

    client: Client
    tell: Tell
    steps: int = field(default=0, init=False)
    _request_id: str = field(default="", init=False)

    async def walk(self) -> int:
        """Take every step and return how many there were.

        Raises:
            TourFailed: an answer was not what it must be.
        """
        await self._lists()
        await self._reads()
        await self._orders()
        await self._cancel()
        await self._resources()
        await self._prompts()
        self.tell(f"\nThe tour is over: {self.steps} calls, each answered as it must be.")
        return self.steps

    async def _lists(self) -> None:
        info = self.client.server_info
        self._must(info is not None and bool(info.version), "the server must name itself")
        by = f"MCP {self.client.protocol_version}"
        self.tell(f"Connected to {info and info.name} {info and info.version} by {by}.")
        tools = (await self.client.list_tools()).tools
        self.tell(f"Tools: {', '.join(tool.name for tool in tools)}")

    async def _reads(self) -> None:
        await self._call("get_account")
        await self._call("get_candles", pair=PAIR, timeframe="5m", limit=5)
        await self._call("get_candles", pair=PAIR, timeframe="1h", limit=3)
        await self._call("get_open_positions")

    async def _orders(self) -> None:
        self._request_id = str(uuid.uuid4())
        order: dict[str, Any] = {
            "request_id": self._request_id,
            "pair": PAIR,
            "side": "buy",
            "amount": AMOUNT,
            "order_type": "market",
        }
        seen = await self._call("dry_run_order", **order)
        held_to = order | {"preview_id": seen["preview_id"]}
        placed = await self._call("create_order", "held to what was seen", **held_to)
        again = await self._call(
            "create_order", "the same request again, as after a lost reply", **held_to
        )
        self._must(placed == again, "a repeated request must be answered from the record")
        await self._call("get_order", request_id=order["request_id"])
        await self._call("get_open_positions", pair=PAIR)
        held = _held(await self._call("get_open_positions", "how much is held now"))
        sell = order | {"request_id": str(uuid.uuid4()), "side": "sell", "amount": held}
        await self._call("create_order", "close it again", **sell)
        too_much = order | {"request_id": str(uuid.uuid4()), "amount": 1000}
        await self._call("create_order", "far too much: denied", refused=True, **too_much)

    async def _cancel(self) -> None:
        """Rest a limit order below the market and take it back.

        In another pair: the bot takes no entry into one that it has just left.
        """
        order: dict[str, Any] = {
            "request_id": str(uuid.uuid4()),
            "pair": RESTING_PAIR,
            "side": "buy",
            "amount": RESTING_AMOUNT,
            "order_type": "market",
        }
        seen = await self._call("dry_run_order", "at which price?", **order)
        price = round(seen["price"] * RESTING_BELOW, 2)
        order |= {"order_type": "limit", "price": price}
        await self._call("create_order", "below the market, so it rests", **order)
        mine = {"request_id": order["request_id"]}
        resting = await self._call("get_order", **mine)
        self._must(resting["status"] == "submitted", "an order below the market must rest")
        gone = await self._call("cancel_order", **mine)
        self._must(gone["status"] == "cancelled", "a cancelled order must say so")

    async def _resources(self) -> None:
        listed = [str(one.uri) for one in (await self.client.list_resources()).resources]
        templates = (await self.client.list_resource_templates()).resource_templates
        for uri in [*listed, *(self._filled(one.uri_template) for one in templates)]:
            self.steps += 1
            try:
                read = await self.client.read_resource(uri)
            except MCPError as error:
                raise TourFailed(f"The resource {uri} was not read: {error}") from error
            text = getattr(read.contents[0], "text", "")
            self._show(f"read {uri}", json.loads(text))

    def _filled(self, template: str) -> str:
        values = {"pair": quote(PAIR, safe=""), "timeframe": "15m", "request_id": self._request_id}
        return template.format_map(values)

    async def _prompts(self) -> None:
        for prompt in (await self.client.list_prompts()).prompts:
            self.steps += 1
            values = {"pair": PAIR, "timeframe": "1h", "side": "buy", "amount": "0.001"}
            wanted = {a.name: values[a.name] for a in prompt.arguments or [] if a.name in values}
            rendered = await self.client.get_prompt(prompt.name, wanted)
            text = getattr(rendered.messages[0].content, "text", "")
            self._must(PAIR in text or "pair" not in wanted, "a prompt must name its pair")
            self.tell(f"\n▶ prompt {prompt.name} {json.dumps(wanted)}")
            self._lines(text.splitlines()[:4])

    async def _call(
        self, name: str, why: str = "", *, refused: bool = False, **arguments: Any
    ) -> Mapping[str, Any]:
        self.steps += 1
        result = await self.client.call_tool(name, arguments)
        if not isinstance(result, CallToolResult):
            raise TourFailed(f"{name} asked back, which no tool here does.")
        told = result.structured_content or {}
        note = f"   ({why})" if why else ""
        self._show(f"{name} {json.dumps(arguments)}{note}", told)
        self._must(
            result.is_error is refused, f"{name} must be {'refused' if refused else 'answered'}"
        )
        return told

    def _must(self, holds: bool, rule: str) -> None:
        if not holds:
            raise TourFailed(f"The tour stopped: {rule}.")

    def _show(self, title: str, answer: Any) -> None:
        self.tell(f"\n▶ {title}")
        wide = max((len(key) for key in answer), default=0)
        self._lines([f"{key:<{wide}}  {_short(value)}" for key, value in answer.items()])

    def _lines(self, lines: list[str]) -> None:
        for line in lines[:MOST_LINES]:
            self.tell(f"  {line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + ' …'}")
        if len(lines) > MOST_LINES:
            self.tell(f"  … {len(lines) - MOST_LINES} more lines")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _held(answer: Mapping[str, Any]) -> float:
    mine = [one["amount"] for one in answer["positions"] if one["pair"] == PAIR]
    if not mine:
        raise TourFailed("The tour stopped: the position that was opened is not listed.")
    return float(mine[0])
