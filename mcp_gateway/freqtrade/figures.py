"""The bot's numbers, moments and words, as pydantic reads them; numbers and moments may be null.

What can't be (infinite, or beyond all bounds) reads as null where nothing hangs on it. An amount
that can't be is refused: of nothing else is money made.
"""

import math
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

from mcp_gateway.clock import from_unix
from mcp_gateway.domain.orders import LARGEST_NUMBER
from mcp_gateway.domain.text import one_line

NOTHING = Decimal(0)
LARGEST_RATE: Final = 1  # nobody takes more than all of it for a fee


def _number(value: Any) -> Decimal | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number or null")
    return Decimal(str(value)) if abs(value) <= LARGEST_NUMBER else None


def _size(value: Any) -> Decimal | None:
    number = _number(value)
    return None if number is None or number < 0 else number


def _price(value: Any) -> Decimal | None:
    return _size(value) or None  # 0 is how the bot says that there is none


def _rate(value: Any) -> Decimal | None:
    number = _number(value)
    return None if number is None or abs(number) > LARGEST_RATE else number


def _amount(value: Any) -> Decimal | None:
    number = _size(value)
    if number is None and value is not None:
        raise ValueError("an amount or null")
    return number


def _moment(value: Any) -> Any:
    """Read milliseconds since 1970; 0 is how the bot says never."""
    if not value:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("milliseconds or null")
    try:
        return from_unix(value / 1000)
    except (OverflowError, OSError):
        raise ValueError("milliseconds of a year that exists") from None


Number = Annotated[Decimal | None, BeforeValidator(_number)]
Size = Annotated[Decimal | None, BeforeValidator(_size)]  # 0 and above
Price = Annotated[Decimal | None, BeforeValidator(_price)]
Rate = Annotated[Decimal | None, BeforeValidator(_rate)]  # negative where the exchange pays
Amount = Annotated[Decimal | None, BeforeValidator(_amount)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]

# A bot, a strategy or an exchange wrote it, and a model or a person may read it.
Text = Annotated[str, AfterValidator(one_line)]
