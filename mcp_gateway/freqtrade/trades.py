"""The bot's trades and their orders, as pydantic shapes."""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from mcp_gateway.domain.orders import MOST_DECIMALS
from mcp_gateway.domain.positions import Fee, Position, Trade, TradeOrder
from mcp_gateway.freqtrade.figures import NOTHING, Amount, Moment, Number, Price, Rate, Size, Text

# How ccxt counts precision: 2 decimal places, 3 significant digits, 4 the step itself.
DECIMAL_PLACES, TICK_SIZE = 2, 4
LARGEST_ID: Final = 2**63 - 1  # of a row, in every database
SMALLEST_STEP: Final = Decimal(1).scaleb(-MOST_DECIMALS)
MOST_FILLED: Final = 2  # times the amount: more is no rounding any more


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ForeignOrder(_Wire):
    order_id: Text
    ft_order_side: Text
    ft_order_tag: Text | None = None
    order_type: Text | None = None
    status: Text | None = None
    is_open: bool
    amount: Amount = None
    filled: Amount = None
    average: Price = None
    safe_price: Price = None
    price: Price = None
    order_timestamp: Moment = None

    @model_validator(mode="after")
    def _tells_how_much(self) -> Self:
        """Refuse an order from which a wrong fill or a cancel would be read."""
        if not self.amount:
            raise ValueError("an order is of some amount")
        if self.filled is None and not self.is_open:
            raise ValueError("an order that has ended was filled or not")
        if self.filled is not None and self.filled > self.amount * MOST_FILLED:
            raise ValueError("an order is filled by its amount")
        return self

    def order(self, is_short: bool) -> TradeOrder:
        filled = self.filled or NOTHING
        closing: Literal["buy", "sell"] = "buy" if is_short else "sell"
        opening: Literal["buy", "sell"] = "sell" if is_short else "buy"
        return TradeOrder(
            order_id=self.order_id,
            tag=self.ft_order_tag,
            # A stop loss is an order of its own side for the bot: it closes.
            side=opening if self.ft_order_side == opening else closing,
            order_type=self.order_type or "",
            status=self.status or "",
            is_open=self.is_open,
            amount=self.amount or NOTHING,
            filled=filled,
            average_price=(self.average or self.safe_price) if filled else None,
            price=self.price or self.safe_price,
            at=self.order_timestamp,
        )


class ForeignPosition(_Wire):
    """A trade but for its orders."""

    trade_id: Annotated[int, Field(ge=1, le=LARGEST_ID)]
    pair: Text
    is_open: bool
    is_short: bool | None = None
    enter_tag: Text | None = None
    amount: Amount = None
    open_rate: Price = None
    current_rate: Price = None
    stop_loss_abs: Price = None
    profit_abs: Number = None
    profit_ratio: Number = None
    open_timestamp: Moment = None

    def position(self) -> Position:
        return Position(
            trade_id=self.trade_id,
            pair=self.pair,
            side="sell" if self.is_short else "buy",
            amount=self.amount or NOTHING,
            entry_price=self.open_rate,
            current_price=self.current_rate,
            unrealized_pnl=self.profit_abs,
            unrealized_pnl_pct=None if self.profit_ratio is None else self.profit_ratio * 100,
            stop_loss=self.stop_loss_abs,
            take_profit=None,
            open_at=self.open_timestamp,
            tag=self.enter_tag,
        )


class ForeignTrade(ForeignPosition):
    fee_open: Rate = None
    fee_open_cost: Number = None
    fee_open_currency: Text | None = None
    fee_close: Rate = None
    fee_close_cost: Number = None
    fee_close_currency: Text | None = None
    amount_precision: Size = None
    precision_mode: int | None = None
    close_profit_abs: Number = None
    realized_profit: Number = None
    close_timestamp: Moment = None
    orders: list[ForeignOrder]

    def trade(self) -> Trade:
        is_short = bool(self.is_short)
        return Trade(
            trade_id=self.trade_id,
            pair=self.pair,
            is_open=self.is_open,
            is_short=is_short,
            tag=self.enter_tag,
            amount=self.amount or NOTHING,
            open_rate=self.open_rate,
            current_rate=self.current_rate,
            fee_rate=self.fee_open,
            lot_step=self._lot_step(),
            opened_at=self.open_timestamp,
            orders=tuple(order.order(is_short) for order in self.orders),
            entry_fee=_fee(self.fee_open_cost, self.fee_open_currency),
            exit_fee_rate=self.fee_close,
            exit_fee=_fee(self.fee_close_cost, self.fee_close_currency),
            profit=self._profit(),
            closed_at=self.close_timestamp,
        )

    def _profit(self) -> Decimal | None:
        """Return what it has brought in all; while it is open its two parts are told apart."""
        if not self.is_open:
            return self.close_profit_abs
        return None if self.profit_abs is None else self.profit_abs + (self.realized_profit or 0)

    def _lot_step(self) -> Decimal | None:
        told = self.amount_precision
        if told is None:
            return None
        if self.precision_mode == DECIMAL_PLACES:
            return Decimal(1).scaleb(-int(told)) if told <= MOST_DECIMALS else None
        return told if self.precision_mode == TICK_SIZE and told >= SMALLEST_STEP else None


class UnreadableTrade(_Wire):
    """What is left of a trade of which something else makes no sense: that it is there."""

    trade_id: int
    pair: Text
    is_open: bool
    enter_tag: Text | None = None

    def trade(self) -> Trade:
        return Trade(
            trade_id=self.trade_id,
            pair=self.pair,
            is_open=self.is_open,
            is_short=False,
            tag=self.enter_tag,
            amount=NOTHING,
            open_rate=None,
            current_rate=None,
            fee_rate=None,
            lot_step=None,
            opened_at=None,
            orders=(),
            readable=False,
        )


def _fee(cost: Decimal | None, currency: str | None) -> Fee | None:
    return None if cost is None or not currency else Fee(cost, currency)


AnyTrade = Annotated[ForeignTrade | UnreadableTrade, Field(union_mode="left_to_right")]


class OpenTrades(RootModel[list[AnyTrade]]):
    pass


class Positions(RootModel[list[ForeignPosition]]):
    pass


class Trades(_Wire):
    trades: list[AnyTrade]
