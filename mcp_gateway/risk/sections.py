"""The sections of the policy file, one field for each of their keys: what may stand in each.

A key that is not there says nothing: ``[defaults]`` then keeps what is built in, an agent's
section what ``[defaults]`` says.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    WrapValidator,
)

from mcp_gateway.domain.market import MarketRules, is_pair
from mcp_gateway.domain.orders import AgentName, OrderType, PositiveDecimal, Side
from mcp_gateway.risk import hours
from mcp_gateway.risk.policy import Closes, Hours, Limits, Policy, Totals

NO_LIMIT: Final = "none"
EVERY_PAIR: Final = "all"
EVERY_HOUR: Final = "always"
# The ledger is asked for what was sent within the last day, and for no more.
LONGEST_WINDOW_S: Final = 86_400
MOST_COUNTED: Final = 1_000_000
MOST_AGENTS: Final = 1000  # with a section of their own
MOST_MARKETS: Final = 10_000
_PATTERN: Final = re.compile(r"\*/[A-Z0-9]{1,20}", re.ASCII)
_Item = TypeVar("_Item")


def _market_name(name: str) -> str:
    if not is_pair(name) and not _PATTERN.fullmatch(name):
        raise ValueError("a pair such as BTC/USDT, or */USDT")
    return name


def _share(value: Decimal) -> Decimal:
    if value >= 1:
        raise ValueError('a share above 0 and below 1, such as "0.05" for 5 %')
    return value


def _span(value: Any) -> tuple[Hours, ...]:
    if not isinstance(value, str):
        raise ValueError("a text, in quotation marks")
    return hours.read(value)


def _some(items: list[_Item]) -> frozenset[_Item]:
    if not items:
        raise ValueError("empty, it would allow nothing; write enabled = false to say that")
    return frozenset(items)


def _hours(spans: frozenset[tuple[Hours, ...]]) -> frozenset[Hours]:
    return hours.merged(one for span in spans for one in span)


def _or(word: str) -> WrapValidator:
    """Let one word stand for: not limited."""

    def read(value: Any, rest: Callable[[Any], Any]) -> Any:
        return None if value == word else rest(value)

    return WrapValidator(read)


def _at_most(limit: int) -> AfterValidator:
    def bounded(sections: dict[str, _Item]) -> dict[str, _Item]:
        if len(sections) > limit:
            raise ValueError(f"more than {limit} of them")
        return sections

    return AfterValidator(bounded)


_Market = Annotated[str, AfterValidator(_market_name)]
_Money = Annotated[PositiveDecimal | None, _or(NO_LIMIT)]
_Share = Annotated[PositiveDecimal, AfterValidator(_share)]
_Whole = Annotated[int, Field(strict=True, ge=1, le=MOST_COUNTED)]
_Count = Annotated[_Whole | None, _or(NO_LIMIT)]
_Window = Annotated[int, Field(strict=True, ge=1, le=LONGEST_WINDOW_S)]
_Sides = Annotated[list[Side], AfterValidator(_some)]
_OrderTypes = Annotated[list[OrderType], AfterValidator(_some)]
_Pairs = Annotated[list[_Market], AfterValidator(_some)]
_Spans = Annotated[
    list[Annotated[Any, PlainValidator(_span)]], AfterValidator(_some), AfterValidator(_hours)
]


class _Strict(BaseModel):
    """A misspelt key would leave a rule out in silence, so there is none but the known ones."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False
    )

    @property
    def given(self) -> dict[str, Any]:
        """What stands in the section, by its keys."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class LimitsSection(_Strict):
    """``[defaults]``, or ``[agents."NAME"]``; what the keys mean, ``Limits`` says."""

    enabled: StrictBool = True
    pairs: Annotated[_Pairs | None, _or(EVERY_PAIR)] = None
    sides: _Sides = []
    order_types: _OrderTypes = []
    order_notional: _Money = None
    wallet_share: Annotated[_Share | None, _or(NO_LIMIT)] = None
    pair_notional: _Money = None
    agent_notional: _Money = None
    agent_positions: _Count = None
    orders_per_minute: _Count = None
    orders_per_day: _Count = None
    daily_notional: _Money = None
    daily_loss: _Money = None
    price_collar: _Share = Decimal(0)
    price_age_s: _Count = None
    duplicate_window_s: Annotated[_Window | None, _or(NO_LIMIT)] = None
    repeats: _Count = None
    repeat_window_s: _Window = 0
    hours: Annotated[_Spans | None, _or(EVERY_HOUR)] = None
    approval_above: _Money = None
    preview_required: StrictBool = False
    price_tolerance: _Share = Decimal(0)
    closes: Closes = "own"
    asks_client: StrictBool = False


class TotalSection(_Strict):
    """``[total]``: what all agents together may do."""

    notional: _Money = None
    positions: _Count = None
    orders_per_minute: _Count = None
    orders_per_day: _Count = None
    daily_notional: _Money = None
    daily_loss: _Money = None


class MarketSection(_Strict):
    """``[markets."BTC/USDT"]`` or ``[markets."*/USDT"]``."""

    lot_step: PositiveDecimal | None = None
    minimum_stake: PositiveDecimal | None = None
    minimum_amount: PositiveDecimal | None = None
    largest_amount: PositiveDecimal | None = None

    def rules(self) -> MarketRules:
        """Return what the exchange asks for."""
        return MarketRules(self.lot_step, self.minimum_stake, self.minimum_amount)


class Document(_Strict):
    """The whole file."""

    defaults: LimitsSection = LimitsSection()
    agents: Annotated[dict[AgentName, LimitsSection], _at_most(MOST_AGENTS)] = {}
    total: TotalSection = TotalSection()
    markets: Annotated[dict[_Market, MarketSection], _at_most(MOST_MARKETS)] = {}

    def policy(self) -> Policy:
        """Return the policy that it tells."""
        defaults = replace(Limits(), **self.defaults.given)
        agents = {name: replace(defaults, **one.given) for name, one in self.agents.items()}
        markets = {name: market.rules() for name, market in self.markets.items()}
        amounts = {
            name: market.largest_amount
            for name, market in self.markets.items()
            if market.largest_amount is not None
        }
        return Policy(
            defaults=defaults,
            agents=MappingProxyType(agents),
            totals=replace(Totals(), **self.total.given),
            markets=MappingProxyType(markets),
            amounts=MappingProxyType(amounts),
            written=True,
        )
