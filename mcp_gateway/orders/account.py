"""What an agent may know of the account, so that it need not probe for its limits."""

from dataclasses import dataclass
from decimal import Decimal

from mcp_gateway.domain.positions import Balance, BotState, Mode
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import BotError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.risk import largest_notional


@dataclass(frozen=True, slots=True)
class Account:
    """Balance, mode and limits at one moment; amounts in the bot's quote currency."""

    mode: Mode
    bot: BotState
    balance: Balance | None
    open_positions: int
    largest_notional: Decimal
    calls_per_minute: int
    scopes: tuple[str, ...]


async def account_of(admission: Admission, bot: FreqtradeClient, calls_per_minute: int) -> Account:
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
    return Account(
        mode=state.mode,
        bot=state,
        balance=balance,
        open_positions=len(trades),
        largest_notional=largest_notional(balance),
        calls_per_minute=calls_per_minute,
        scopes=tuple(sorted(admission.principal.scopes)),
    )
