"""The typed client before a real gateway process, on a wire that breaks and a gateway that dies."""

import signal
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from mcp_gateway.client import GatewayAuth, GatewayClient, Order, Placed, RenewingAuth, Unknown
from mcp_gateway.client.tokens import TokenFile
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.processes import serving, token
from tests.support.proxy import WireFault, proxied
from tests.support.standin import stand_in

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

FAULTS = (
    "reset_before", "reset_in_request", "reset_after_request", "reset_after_headers",
    "truncated", "garbage", "duplicate",
)  # fmt: skip


def auth() -> GatewayAuth:
    """Return what a trader has."""
    return GatewayAuth(token(), key=HMAC_SECRET, key_id=TRADER)


async def test_an_order_is_placed_once_whatever_the_wire_does_to_its_answer(
    tmp_path: Path,
) -> None:
    """Each way of losing a request or its answer, one after the other: one trade, and it is told."""
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            async with proxied(port) as wire, GatewayClient(wire.url, auth()) as gw:
                order = Order("BTC/USDT", "buy", Decimal(1))
                wire.faults.extend(WireFault(name) for name in FAULTS)
                placed = await gw.create_order(order)
                assert isinstance(placed, Placed)
                assert placed.request_id == order.request_id
                assert wire.struck == list(FAULTS[: len(wire.struck)])
                while wire.faults:  # each of the others meets the same order again
                    again = await gw.create_order(order)
                    assert isinstance(again, Placed)
                    assert again.order_id == placed.order_id
                assert wire.struck == list(FAULTS)
        assert len(bot.bot.posts) == 1


async def test_an_order_survives_the_gateway_that_took_it(tmp_path: Path) -> None:
    """Killed with the order at the bot, and served again: the same id, asked until it is final."""
    path = tmp_path / "token"
    path.write_text(token())
    path.chmod(0o600)
    renewing = RenewingAuth(TokenFile(path, print), key=HMAC_SECRET, key_id=TRADER)
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            async with (
                GatewayClient(gateway.url, renewing) as gw,
                anyio.create_task_group() as group,
            ):
                order, outcomes = Order("ETH/USDT", "buy", Decimal(1)), list[object]()

                async def place() -> None:
                    outcomes.append(await gw.create_order(order))

                bot.bot.faults.append("hang")
                group.start_soon(place)
                await bot.asked("forceenter")
                gateway.signal(signal.SIGKILL)
                await anyio.to_thread.run_sync(gateway.wait)
                bot.bot.release.set()
                with serving(tmp_path, port, FREQTRADE_URL=bot.url):
                    state = await gw.wait_until_final(order.request_id, deadline_s=60)
                assert (state.outcome, state.final) == ("placed", True)
        assert isinstance(outcomes[0], Placed | Unknown)
        assert len(bot.bot.posts) == 1
