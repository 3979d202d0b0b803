"""Closing what this gateway opened: everything is halted, resting entries taken back, all sold.

Every sell is an order in the ledger like an agent's own, by the agent's own rules for exits,
with a request_id that follows from the confirmation: whoever repeats the command sells
nothing twice. What somebody else opened is named and left alone.
"""

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final
from uuid import UUID, uuid5

import anyio
from pydantic import BaseModel, ConfigDict

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import (
    SMALLEST_NUMBER,
    OrderRecord,
    OrderRequest,
    State,
    canonical,
)
from mcp_gateway.domain.positions import Mode, Trade
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import GatewayError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book import answers, marks, protocol
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.book.steps import Origin
from mcp_gateway.orders.halts.records import OPERATOR, NewHalt, Reason, as_json
from mcp_gateway.orders.halts.switch import Halts
from mcp_gateway.orders.sending.intake import new_record
from mcp_gateway.orders.service import OrderService
from mcp_gateway.risk.case import WIDE
from mcp_gateway.telemetry import logs

AT_ONCE: Final = 4  # sells on their way; the bot serves its API from one thread
ROUNDS: Final = 3  # an entry that was on its way may be there a moment later
PAUSE_S: Final = 1.0
MOST_TRIES: Final = 10  # sells of one position for one confirmation
UNDONE: Final = frozenset({State.DENIED, State.REJECTED})
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done now.

    Args:
        sells: open trades that hold something, with the entry that opened each.
        cancels: entries of ours that rest.
        unsettled: orders of ours of which nobody knows yet what they did.
        others: open trades that no gateway opened, or that can't be read.
    """

    sells: tuple[tuple[Trade, OrderRecord], ...]
    cancels: tuple[OrderRecord, ...]
    unsettled: tuple[OrderRecord, ...]
    others: tuple[Trade, ...]

    @property
    def is_flat(self) -> bool:
        """Whether nothing of ours is left to be closed, or to be waited for."""
        return not (self.sells or self.cancels or self.unsettled)

    def as_json(self) -> dict[str, Any]:
        """Return it as an operator is shown it; amounts in base."""
        return {
            "sells": [
                {"trade_id": trade.trade_id, "pair": trade.pair, "agent": entry.agent,
                 "amount": canonical(trade.amount)}
                for trade, entry in self.sells
            ],
            "cancels": [_named(one) for one in self.cancels],
            "unsettled": [_named(one) | {"side": one.side} for one in self.unsettled],
            "others": [
                {"trade_id": one.trade_id, "pair": one.pair, "amount": canonical(one.amount),
                 "readable": one.readable}
                for one in self.others
            ],
        }  # fmt: skip


class FlattenRequest(BaseModel):
    """What an operator confirmed, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirmation: UUID
    reason: Reason


@dataclass
class Flattening:
    """One operator's order to close everything.

    Args:
        confirmation: what the operator confirmed; the same one never sells twice.
        operator: the account, by the system's word.
    """

    orders: OrderService
    halts: Halts
    ledger: Ledger
    bot: FreqtradeClient
    bot_name: str
    mode: Mode
    clock: Clock
    confirmation: UUID
    operator: str
    _told: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)

    async def plan(self) -> Plan:
        """Look what there is to be closed; raises BotError or StoreUnavailable."""
        trades = await self.bot.open_trades()
        tags = {trade.tag for trade in trades if trade.tag and marks.is_ours(trade.tag)}
        entries = await self.ledger.by_tags(tags)
        ours = {one.tag: one for one in entries if one.bot == self.bot_name}
        resting = await self.ledger.in_states(self.bot_name, protocol.RESTING)
        unsettled = await self.ledger.in_states(self.bot_name, protocol.UNSETTLED)
        return Plan(
            sells=tuple(
                (one, ours[one.tag])
                for one in trades
                if one.tag in ours and one.readable and one.amount > 0
            ),
            cancels=tuple(one for one in resting if one.side == "buy"),
            unsettled=unsettled,
            others=tuple(one for one in trades if one.tag not in ours or not one.readable),
        )

    async def run(self, reason: str) -> dict[str, Any]:
        """Halt, cancel and sell; return what became of each, and what is left.

        Raises:
            BotError, StoreUnavailable: what is there to be closed can't be told; everything is
                halted, and the command may be repeated.
        """
        halt = await self._halted(reason)
        left = await self.plan()
        for _ in range(ROUNDS):
            if left.is_flat:
                break
            await self._carry_out(left)
            left = await self.plan()
            if not left.is_flat:  # what was on its way may arrive
                await self.clock.sleep(PAUSE_S)
                left = await self.plan()
        return {
            "confirmation": str(self.confirmation),
            "operator": self.operator,
            "halt": halt,
            "orders": list(self._told.values()),
            "left": left.as_json(),
            "flat": left.is_flat,
        }

    async def _halted(self, reason: str) -> dict[str, Any] | None:
        """Halt everything, so that nobody buys again what is being sold."""
        who = Actor.operating(self.operator, "flatten")
        new = NewHalt("all", "", OPERATOR, f"flatten: {reason}", who, self.clock.now())
        record = await self.halts.set(new)
        return None if record is None else as_json(record)

    async def _carry_out(self, plan: Plan) -> None:
        for entry in plan.cancels:
            await self._take_back(entry)
        held = await self.plan() if plan.cancels else plan  # a cancel may leave a part that is held
        limit = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as group:
            for trade, entry in held.sells:
                group.start_soon(self._sell, trade, entry, limit)

    async def _take_back(self, entry: OrderRecord) -> None:
        try:
            settled = await self.orders.take_back(entry, self._origin("cancel_order"))
        except GatewayError as error:
            self._note(entry, "cancel", code=error.code)
        else:
            self._note(settled, "cancel")

    async def _sell(self, trade: Trade, entry: OrderRecord, limit: anyio.CapacityLimiter) -> None:
        async with limit:
            try:
                made = await self._next_sell(trade, entry)
                if made is not None:
                    record, order = made
                    origin = self._origin("create_order")
                    self._note(await self.orders.carry(record, order, origin), "sell")
            except GatewayError as error:
                _log.warning("A position was not sold", trade=trade.trade_id, code=error.code)
                self._failed(trade, entry, error.code)
            except Exception:  # noqa: BLE001  (one that fails must not keep the others from being sold)
                _log.exception("A position was not sold", trade=trade.trade_id)
                self._failed(trade, entry, "internal_error")

    def _failed(self, trade: Trade, entry: OrderRecord, code: str) -> None:
        told = {
            "pair": trade.pair, "agent": entry.agent, "amount": canonical(trade.amount),
            "outcome": "failed", "code": code,
        }  # fmt: skip
        self._told[f"trade {trade.trade_id}"] = {"what": "sell", "order_id": None, **told}

    async def _next_sell(
        self, trade: Trade, entry: OrderRecord
    ) -> tuple[OrderRecord, OrderRequest] | None:
        """Return a new sell of a position; None where an earlier one of this confirmation counts.

        One that was denied or rejected did nothing, so the next takes another request_id, which
        follows from the confirmation as well. One that is unknown, or rests, is waited for.
        """
        for attempt in range(MOST_TRIES):
            request_id = uuid5(self.confirmation, f"{entry.tag} {attempt}")
            known = await self.ledger.find(entry.issuer, entry.subject, request_id)
            if known is None:
                order = OrderRequest(
                    request_id=request_id, agent=entry.agent, pair=trade.pair, side="sell",
                    amount=_plain(trade.amount), order_type="market",
                )  # fmt: skip
                return self._record(order, entry), order
            if known.state in UNDONE and attempt < MOST_TRIES - 1:
                continue  # told when it was tried
            self._note(known, "sell")
            if known.state not in UNDONE | {State.FILLED}:
                return None
        return None

    def _record(self, order: OrderRequest, entry: OrderRecord) -> OrderRecord:
        """Return the sell as the ledger keeps it: the owner's, for the owner's it is."""
        owner = Principal(entry.issuer, entry.subject, frozenset())
        return new_record(
            order, entry.agent, owner, carrier=self.ledger.holder, bot=self.bot_name,
            mode=self.mode, now=self.clock.now(),
        )  # fmt: skip

    def _origin(self, operation: str) -> Origin:
        return Origin(
            "control", f"flatten {self.confirmation}", operation=operation, operator=self.operator
        )

    def _note(self, record: OrderRecord, what: str, *, code: str | None = None) -> None:
        told = {
            "what": what,
            **_named(record),
            "outcome": protocol.outcome(record.state),
            "status": answers.status(record),
            "filled_amount": canonical(record.filled_amount),
            "average_price": record.average_price and canonical(record.average_price),
            "code": code or record.code,
        }
        self._told[record.order_id] = told


def _plain(amount: Decimal) -> Decimal:
    """Cut off what no order can hold: the bot computes in floats."""
    return amount.quantize(SMALLEST_NUMBER, ROUND_FLOOR, context=WIDE)


def _named(record: OrderRecord) -> dict[str, Any]:
    return {
        "order_id": record.order_id,
        "pair": record.pair,
        "agent": record.agent,
        "amount": canonical(record.amount),
    }
