"""What an agent may know of the account, so that it need not probe for its limits.

Reads work without the store, and so does this: then it tells the limits, and not what is left.
Nothing of the ledger is imported here, for it would take the SQL libraries along.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.positions import Balance, BotState, Mode, Trade
from mcp_gateway.domain.principals import Admission, Principal
from mcp_gateway.errors import BotError, GatewayError, StoreUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.market.flights import Flights
from mcp_gateway.orders.sending.intake import new_record
from mcp_gateway.risk.allowance import NO_PAIR, Allowance, allowance_of, nothing_in
from mcp_gateway.risk.facts import NOTHING_STANDS, Facts, Halt, Standing
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import Policy

if TYPE_CHECKING:
    from mcp_gateway.orders.sending.facts import FactFinder

WALLET_KEPT_S: Final = 1.0
LEDGER_WAIT_S: Final = 2.0  # longer than a store takes to open, shorter than a reader waits
Finder = Callable[[], Awaitable["FactFinder"]]


@dataclass(frozen=True, slots=True)
class Account:
    """Balance, mode and limits at one moment; amounts in the bot's quote currency.

    ``as_of`` is when the bot was asked; ``mode`` is the bot's own, ``declared_mode`` the one
    that orders want it to be in.
    """

    mode: Mode
    declared_mode: Mode
    bot: BotState
    balance: Balance | None
    open_positions: int
    as_of: datetime
    allowance: Allowance
    calls_per_minute: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wallet:
    """What the bot says of itself, its money and its positions; the same for every caller.

    ``seen`` is how far the ledger was written before the bot was asked; None: not known.
    """

    bot: BotState
    balance: Balance | None
    open_trades: tuple[Trade, ...]
    seen: int | None

    def facts(self, declared_mode: Mode) -> Facts:
        """Return it as the rules read it, without owners and results."""
        return Facts(
            declared_mode=declared_mode,
            bot=self.bot,
            open_trades=self.open_trades,
            pair_is_held=False,
            bot_started_at=None,
            balance=self.balance,
        )


async def wallet_of(bot: FreqtradeClient, finder: "FactFinder | None") -> Wallet:
    """Ask the bot for its state, its wallet and its positions.

    Raises:
        BotUnavailable: the bot does not answer.
    """
    seen = None if finder is None else await _mark(finder)
    state = await bot.bot_state()
    trades = await bot.open_trades()
    try:
        balance: Balance | None = await bot.balance()
    except BotError:
        balance = None  # the wallet needs the exchange; the rest is worth telling without it
    return Wallet(state, balance, trades, seen)


async def _mark(finder: "FactFinder") -> int | None:
    try:
        return await finder.ledger.mark()
    except StoreUnavailable:
        return None


class Accounts:
    """Tells callers of the account.

    Args:
        finder: waits for the store, and raises where it does not open.
        local_halts: those that this process knows without the store.
        declared_mode: as the operator says that the bot is.
    """

    def __init__(
        self,
        bot: FreqtradeClient,
        finder: Finder,
        policies: PolicyKeeper,
        clock: Clock,
        local_halts: Callable[[], tuple[Halt, ...]],
        *,
        declared_mode: Mode,
        calls_per_minute: int,
    ) -> None:
        self._bot = bot
        self._finder = finder
        self._policies = policies
        self._clock = clock
        self._local_halts = local_halts
        self._declared_mode = declared_mode
        self._calls_per_minute = calls_per_minute
        self._wallets: Flights[None, Wallet] = Flights(clock, WALLET_KEPT_S)

    async def of(self, admission: Admission) -> Account:
        """Return what one caller is told of the account, with its own limits.

        Raises:
            BotUnavailable: the bot does not answer.
        """
        finder = await self._open_finder()
        told = await self._wallets.ask(None, partial(wallet_of, self._bot, finder))
        wallet, agent = told.value, admission.principal.subject
        policy = self._policies.current
        facts, standing = await self._counted(wallet, admission.principal, finder, policy)
        halts = dict.fromkeys((*(standing or NOTHING_STANDS).halts, *self._local_halts()))
        stands = replace(standing or NOTHING_STANDS, halts=tuple(halts))
        return Account(
            mode=wallet.bot.mode,
            declared_mode=self._declared_mode,
            bot=wallet.bot,
            balance=wallet.balance,
            open_positions=len(wallet.open_trades),
            as_of=told.as_of,
            allowance=allowance_of(
                agent, policy, self._clock.now(), facts, stands, known=standing is not None
            ),
            calls_per_minute=self._calls_per_minute,
            scopes=tuple(sorted(admission.principal.scopes)),
        )

    async def _open_finder(self) -> "FactFinder | None":
        with anyio.move_on_after(LEDGER_WAIT_S), suppress(GatewayError):
            return await self._finder()
        return None

    async def _counted(
        self,
        wallet: Wallet,
        principal: Principal,
        finder: "FactFinder | None",
        policy: Policy,
    ) -> tuple[Facts, Standing | None]:
        """Add what the ledger knows: whose trades they are, what is reserved, sent and halted."""
        facts = wallet.facts(self._declared_mode)
        if finder is None or wallet.seen is None:
            return facts, None
        try:
            counted = await finder.of_account(facts, principal.subject, policy)
            nothing = self._nothing(principal, finder)
            return counted, await finder.ledger.standing(nothing, wallet.seen)
        except StoreUnavailable:
            return facts, None

    def _nothing(self, principal: Principal, finder: "FactFinder") -> OrderRecord:
        """Return an order that is never sent, for the ledger to say what stands against it."""
        return new_record(
            nothing_in(NO_PAIR), principal.subject, principal, carrier="", bot=finder.bot_name,
            mode=self._declared_mode, now=self._clock.now(),
        )  # fmt: skip
