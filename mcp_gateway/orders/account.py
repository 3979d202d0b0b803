"""What an agent may know of the account, so that it need not probe for its limits."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mcp_gateway.domain.positions import Balance, BotState, Mode
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import BotError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.risk import largest_notional


@dataclass(frozen=True, slots=True)
class Account:
    """Balance, mode and limits at one moment; amounts in the bot's quote currency.

    ``as_of`` is when the bot was asked.
    """

    mode: Mode
    bot: BotState
    balance: Balance | None
    open_positions: int
    as_of: datetime
    largest_notional: Decimal
    calls_per_minute: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wallet:
    """What the bot says of itself, its money and its positions; the same for every caller."""

    bot: BotState
    balance: Balance | None
    open_positions: int


async def wallet_of(bot: FreqtradeClient) -> Wallet:
    """Ask the bot for its state, its wallet and its positions.

    Raises:
        BotUnavailable: the bot does not answer.
    """
    state = await bot.bot_state()
    trades = await bot.open_trades()
    try:
        balance: Balance | None = await bot.balance()
    except BotError:
        balance = None  # the wallet needs the exchange; the rest is worth telling without it
    return Wallet(state, balance, len(trades))


def account_of(
    admission: Admission, wallet: Wallet, as_of: datetime, calls_per_minute: int
) -> Account:
    """Return what one caller is told of the wallet, with its own limits."""
    return Account(
        mode=wallet.bot.mode,
        bot=wallet.bot,
        balance=wallet.balance,
        open_positions=wallet.open_positions,
        as_of=as_of,
        largest_notional=largest_notional(wallet.balance),
        calls_per_minute=calls_per_minute,
        scopes=tuple(sorted(admission.principal.scopes)),
    )
