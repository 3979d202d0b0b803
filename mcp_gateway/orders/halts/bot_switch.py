"""Telling the bot of a halt of everything: its own strategy must open nothing either.

The bot is paused only where it ran, and started again only where we paused it. Which of the
two is due follows from the halts, so a gateway that ends midway is no matter: the next look,
its own or another gateway's, goes on.
"""

from dataclasses import dataclass, field
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book.background import forever
from mcp_gateway.orders.halts import rows as halt_rows
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.storage.sql import Store
from mcp_gateway.telemetry import logs

LOOK_S: Final = 1.0
RUNNING: Final = "running"
PAUSED: Final = "paused"
_log = logs.get(__name__)


@dataclass
class BotSwitch:
    """Pauses the bot as long as a halt of everything is in force."""

    store: Store
    bot: FreqtradeClient
    clock: Clock
    local: LocalHalts
    _unnoted: bool = field(default=False, init=False)  # paused, and the store did not take it down

    async def keep(self) -> None:
        """Look until cancelled; a bot or a store that is down is asked again."""
        await forever("Telling the bot", self.look, lambda: self.clock.sleep(LOOK_S))

    async def look(self) -> None:
        """Do once what is due.

        Raises:
            BotUnavailable: the bot does not tell its state; nothing was changed.
            StoreUnavailable: whether the bot is to be started is not known.
        """
        if self.local.is_global:
            await self._pause()
        elif self._unnoted or await self.store.read(halt_rows.owes_start):
            await self._start()

    async def _pause(self) -> None:
        state = (await self.bot.bot_state()).state
        if state != RUNNING:  # paused is what is wanted, and a stopped bot would be started by it
            if self._unnoted and await self._noted():
                self._unnoted = False
            return
        # Before the bot is asked, so that no crash makes us forget that it was we who paused it;
        # and once more behind it: another gateway may have released the last halt meanwhile,
        # and found a bot that still ran.
        await self._noted()
        self._unnoted = True
        answer = await self.bot.pause()
        self._unnoted = not await self._noted()
        if not isinstance(answer, Accepted):
            _log.warning("The bot was not paused; it is asked again", code=answer.code)
            return
        _log.warning("The bot is paused, for all trading is halted")

    async def _noted(self) -> bool:
        try:
            return await self.store.write(halt_rows.note_pause)
        except StoreUnavailable as error:
            _log.warning("That the bot was paused is not written down yet", code=error.code)
            return False

    async def _start(self) -> None:
        state = (await self.bot.bot_state()).state
        if state == PAUSED:
            if self.local.is_global:  # halted again while the bot was asked
                return
            answer = await self.bot.resume()
            if not isinstance(answer, Accepted):
                _log.warning("The bot was not started; it is asked again", code=answer.code)
                return
            _log.warning("The bot is started again, for no halt of all trading is left")
        # One that a person has started or stopped meanwhile is left as it is.
        await self.store.write(halt_rows.note_start)
        self._unnoted = False
