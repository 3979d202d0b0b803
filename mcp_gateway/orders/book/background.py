"""Work that goes on behind the calls: it waits where something is down, and never ends."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.errors import BotError, GatewayError, StoreUnavailable
from mcp_gateway.orders.book.ledger import Superseded
from mcp_gateway.telemetry import logs

NONSENSE: Final = "bot_nonsense"  # of one trade says nothing of the next
_log = logs.get(__name__)


async def forever(
    name: str, work: Callable[[], Awaitable[object]], pause: Callable[[], Awaitable[object]]
) -> None:
    """Do ``work`` and ``pause`` in turn until cancelled, whatever fails."""
    while True:
        try:
            await work()
        except GatewayError as error:
            _log.warning(f"{name} waits", code=error.code)
        except Exception:  # noqa: BLE001  (a bug in here must not leave every order as it is for ever)
            _log.exception(f"{name} failed")
        await pause()


async def for_each(
    records: Iterable[OrderRecord], work: Callable[[OrderRecord], Awaitable[object]]
) -> None:
    """Do ``work`` for each order; one that fails for itself does not hold up the others.

    Raises:
        BotError, StoreUnavailable: the next one would fare no better.
    """
    for record in records:
        try:
            await work(record)
        except (BotError, StoreUnavailable) as error:
            if error.code != NONSENSE:
                raise
            _log.error("An order could not be read", order=record.order_id)
        except Superseded:
            continue  # another gateway moved it
        except Exception:  # noqa: BLE001  (one order that can't be read must not hold up the others)
            _log.exception("An order could not be taken on", order=record.order_id)
