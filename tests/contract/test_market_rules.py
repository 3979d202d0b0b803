"""The stake that is never raised, and what becomes of smaller ones, at a real Freqtrade.

The sandbox's strategy has a stop loss so wide that the bot takes its largest reserve.
"""

from collections.abc import AsyncIterator
from decimal import ROUND_FLOOR, Decimal

import httpx2
import pytest

from mcp_gateway.cli.sandboxed import _values
from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, Answer, Refused
from mcp_gateway.domain.market import MarketRules
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.policy import Policy
from mcp_gateway.sandbox.bot import Sandbox
from mcp_gateway.sandbox.market import PAIRS
from mcp_gateway.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

# Below the simulated market, so that the order rests and is sized by its own price.
RESTING = {"BTC/USDT": Decimal(20_000), "ETH/USDT": Decimal(1_000)}
HARDLY = Decimal("0.000001")


@pytest.fixture
async def client(clean_bot: Sandbox) -> AsyncIterator[FreqtradeClient]:
    """A client of the bot, which has no trade."""
    async with FreqtradeClient(
        clean_bot.freqtrade_url, clean_bot.freqtrade_username, clean_bot.freqtrade_password,
        pool_size=1, read_timeout_s=15, order_timeout_s=45, clock=Clock(),
    ) as connected:  # fmt: skip
        yield connected


@pytest.fixture
def policy(real_bot: Sandbox) -> Policy:
    """What the sandbox's own gateway is told."""
    return load_policy(real_bot.policy)


def test_the_gateway_of_a_sandbox_is_told_its_bots_markets(
    real_bot: Sandbox, policy: Policy
) -> None:
    """A first order needs lot step and minimum of every pair that the bot trades."""
    settings = Settings.apart(**_values(real_bot, 0))
    assert settings.policy == real_bot.policy
    assert real_bot.policy.is_relative_to(real_bot.folder)
    assert set(policy.markets) == set(PAIRS)


def market_of(policy: Policy, pair: str, price: Decimal) -> tuple[MarketRules, Decimal, Decimal]:
    """Return what is known of a pair, with its lot step and its smallest safe stake."""
    rules = policy.market(pair)
    safe = rules.smallest_safe_stake(price)
    assert rules.lot_step is not None
    assert safe is not None
    return rules, rules.lot_step, safe


async def bought(client: FreqtradeClient, pair: str, stake: Decimal, price: Decimal) -> Decimal:
    """Send a limit entry and return the amount that the bot made of it."""
    answer = await client.enter(Entry(pair, stake, "limit", price, "gw:contract"))
    assert isinstance(answer, Accepted), answer
    assert answer.trade is not None
    [order] = answer.trade.orders
    return order.amount


def in_steps(amount: Decimal, step: Decimal) -> Decimal:
    """Return the amount as the bot cuts it to whole lot steps."""
    return (amount / step).to_integral_value(ROUND_FLOOR) * step


@pytest.mark.parametrize("pair", RESTING)
async def test_the_smallest_safe_stake_is_bought_as_it_was_sent(
    client: FreqtradeClient, policy: Policy, bot_api: httpx2.Client, pair: str
) -> None:
    """Neither raised nor refused: stake and amount in the bot's books are those sent."""
    price = RESTING[pair]
    _, step, safe = market_of(policy, pair, price)
    amount = await bought(client, pair, safe, price)
    [booked] = bot_api.get("status").raise_for_status().json()
    assert Decimal(str(booked["stake_amount"])) == safe
    assert amount == in_steps(safe / price, step)


@pytest.mark.parametrize("pair", RESTING)
async def test_a_stake_below_it_is_raised_up_to_it(
    client: FreqtradeClient, policy: Policy, bot_api: httpx2.Client, pair: str
) -> None:
    """The bound is tight: the least bit less is raised, and so is a fifth less, to just that."""
    price = RESTING[pair]
    rules, _, safe = market_of(policy, pair, price)
    assert rules.minimum_stake is not None
    for stake in (safe - HARDLY, safe * Decimal("0.8")):
        assert stake > rules.minimum_stake
        await bought(client, pair, stake, price)
        [booked] = bot_api.get("status").raise_for_status().json()
        assert Decimal(str(booked["stake_amount"])) == safe
        bot_api.delete(f"trades/{booked['trade_id']}").raise_for_status()


async def test_a_stake_below_the_exchanges_minimum_is_refused_by_the_bot(
    client: FreqtradeClient, policy: Policy
) -> None:
    """More than 30 % below what it wants, it buys nothing at all."""
    price = RESTING["BTC/USDT"]
    rules, _, _ = market_of(policy, "BTC/USDT", price)
    assert rules.minimum_stake is not None
    stake = rules.minimum_stake - Decimal("0.01")
    answer: Answer = await client.enter(Entry("BTC/USDT", stake, "limit", price, "gw:contract"))
    assert answer == Refused("entry_refused")
    assert await client.open_trades() == ()


async def test_a_minimum_amount_is_priced_by_the_order_itself(
    client: FreqtradeClient, policy: Policy
) -> None:
    """Where one lot step costs more than the minimum value, the amount decides, not the value."""
    price = Decimal(800_000)  # a step of BTC is worth 8 then; the bot buys at the market
    _, step, safe = market_of(policy, "BTC/USDT", price)
    assert safe == step * price * Decimal("1.5")
    assert await bought(client, "BTC/USDT", safe, price) == in_steps(safe / price, step)


async def test_less_than_a_minimum_amount_is_raised_to_it(
    client: FreqtradeClient, policy: Policy
) -> None:
    """Nine tenths of a step would buy nothing; the bot makes a whole one of them."""
    price = Decimal(800_000)
    _, step, _ = market_of(policy, "BTC/USDT", price)
    stake = step * price * Decimal("0.9")
    assert in_steps(stake / price, step) == 0
    assert await bought(client, "BTC/USDT", stake, price) == step
