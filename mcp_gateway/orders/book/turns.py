"""Who waits for whom within one process, so that the bot is asked for one thing at a time."""

from weakref import WeakValueDictionary

import anyio

from mcp_gateway.domain.orders import OrderRecord


class Turns:
    """Locks of orders.

    Entries go one after the other, for the bot checks its slots before it takes its own lock.
    Exits have locks of their own: nothing else must hold them up.
    """

    def __init__(self) -> None:
        self._entry = anyio.Lock()
        self._exits: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def of(self, record: OrderRecord) -> anyio.Lock:
        """Return the lock that an order takes while it is sent."""
        return self._entry if record.side == "buy" else self.of_exit(record)

    def of_exit(self, record: OrderRecord) -> anyio.Lock:
        """Return the lock of an agent's exits in a pair, and of its cancels there.

        Nobody else's sells hold up an agent's own: they are of other trades.
        """
        key = f"{record.issuer}\n{record.agent}\n{record.pair}"
        return self._exits.setdefault(key, anyio.Lock())
