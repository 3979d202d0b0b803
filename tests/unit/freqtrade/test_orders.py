"""Orders in the bot's form, and what its answers prove."""

from decimal import Decimal

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from mcp_gateway.domain.answers import Refused, Unanswered
from mcp_gateway.domain.orders import OrderType
from mcp_gateway.freqtrade.answers import unaccepted
from mcp_gateway.freqtrade.orders import Entry, Exit, quote_for

pytestmark = pytest.mark.unit

# How long an example takes says how busy the machine is, nothing about the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bought(quote: Decimal, price: Decimal, lot_step: Decimal) -> Decimal:
    """Divide and truncate as the bot does: in floats, then to whole steps of what prints."""
    amount = Decimal(str(float(quote) / float(price)))
    return amount // lot_step * lot_step


@unhurried
@given(
    steps=some.integers(1, 10**9),
    lot_step=some.integers(-8, 3).map(Decimal(10).__pow__),
    price=some.decimals("0.00000001", 10**6, places=8),
)
def test_the_quote_buys_the_amount_to_the_step(
    steps: int, lot_step: Decimal, price: Decimal
) -> None:
    """The half step keeps the bot's float division clear of the edge it truncates at."""
    amount = steps * lot_step
    assert bought(quote_for(amount, price, lot_step), price, lot_step) == amount


@unhurried
@given(
    amount=some.decimals("0.0000001", 10**6, places=7),
    lot_step=some.integers(-6, 2).map(Decimal(10).__pow__),
    price=some.decimals("0.0001", 10**6, places=4),
)
def test_the_quote_never_buys_more_than_the_amount(
    amount: Decimal, lot_step: Decimal, price: Decimal
) -> None:
    """What lies between two steps is dropped, for an order may fall short but not exceed."""
    got = bought(quote_for(amount, price, lot_step), price, lot_step)
    assert amount - lot_step < got <= amount


def test_a_plain_product_loses_a_step() -> None:
    """Why the half step is there: in floats the quotient falls a hair short of 0.01597."""
    amount, price, step = Decimal("0.01597"), Decimal("44537.89"), Decimal("0.00001")
    assert bought(amount * price, price, step) < amount
    assert bought(quote_for(amount, price, step), price, step) == amount


def test_without_a_lot_step_the_quote_is_the_product() -> None:
    """Nothing is added to an amount whose steps are not known."""
    assert quote_for(Decimal("0.001"), Decimal(50000), None) == 50


def test_an_entry_has_the_bots_keys_and_no_others() -> None:
    """Freqtrade ignores unknown keys in silence: stake_amount would open the default stake."""
    entry = Entry("BTC/USDT", Decimal("50.5"), "market", None, "gw:1")
    assert entry.body() == {
        "pair": "BTC/USDT",
        "side": "long",
        "ordertype": "market",
        "stakeamount": 50.5,
        "entry_tag": "gw:1",
    }
    limit = Entry("BTC/USDT", Decimal("50.5"), "limit", Decimal("46000.1"), "gw:1")
    assert limit.body() == entry.body() | {"ordertype": "limit", "price": 46000.1}


def test_an_exit_of_everything_names_no_amount() -> None:
    """An absent amount is all of it; 0 would be too, and is never sent."""
    assert Exit(7, None, "market", None).body() == {"tradeid": 7, "ordertype": "market"}
    part = Exit(7, Decimal("0.001"), "limit", Decimal("46000.1")).body()
    assert part == {"tradeid": 7, "ordertype": "limit", "amount": 0.001, "price": 46000.1}


@pytest.mark.parametrize("quote", ["0", "-1", "NaN", "Infinity"])
def test_an_entry_without_a_real_quote_cannot_be_made(quote: str) -> None:
    """0 is the default stake to the bot, and infinity the whole wallet."""
    with pytest.raises(ValueError, match="above 0"):
        Entry("BTC/USDT", Decimal(quote), "market", None, "gw:1")


@pytest.mark.parametrize("amount", ["0", "-1", "NaN"])
def test_an_exit_without_a_real_amount_cannot_be_made(amount: str) -> None:
    """0 and NaN would sell everything."""
    with pytest.raises(ValueError, match="above 0"):
        Exit(7, Decimal(amount), "market", None)


@pytest.mark.parametrize(("kind", "price"), [("market", Decimal(1)), ("limit", None)])
def test_a_price_belongs_to_a_limit_order_alone(kind: OrderType, price: Decimal | None) -> None:
    """A price sent with a market order gives a wrong size."""
    with pytest.raises(ValueError, match="limit order"):
        Entry("BTC/USDT", Decimal(1), kind, price, "gw:1")
    with pytest.raises(ValueError, match="limit order"):
        Exit(7, None, kind, price)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Symbol does not exist or market is not active.", "pair_inactive"),
        ("Wrong pair selected. Only pairs with stake-currency USDT allowed.",
         "quote_currency_wrong"),
        ("Maximum number of trades is reached.", "no_free_slot"),
        ("position for BTC/USDT already open - id: 2", "position_exists"),
        ("Force_entry not enabled.", "entries_disabled"),
        ("trader is not running", "bot_not_running"),
        ("Can't go short on Spot markets.", "short_not_possible"),
        ("Failed to enter position for BTC/USDT.", "entry_refused"),
        ("Remaining amount of 0.92 would be too small.", "remainder_too_small"),
        ("invalid argument", "trade_not_open"),
        ("Invalid trade_id.", "trade_not_open"),
        ("No open order for trade_id.", "no_open_order"),
    ],
)  # fmt: skip
def test_a_reason_becomes_a_word_of_ours(reason: str, code: str) -> None:
    """Freqtrade 2026.9, rpc.py: these are all it says to an order."""
    body = orjson.dumps({"error": f"Error querying /api/v1/forceenter: {reason}"})
    assert unaccepted(502, body) == Refused(code)


@pytest.mark.parametrize(
    "reason", ["Failed to exit trade.", "no active trade", "something of next year's"]
)
def test_a_refusal_after_the_fact_proves_nothing(reason: str) -> None:
    """The bot says these when it has just cancelled an unfilled entry; or nobody knows when."""
    body = orjson.dumps({"error": f"Error querying /api/v1/forceexit: {reason}"})
    assert unaccepted(502, body) == Unanswered("refusal_unproven")
