"""Query strings: which parameters a route knows, and their strict reading."""

from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mcp_gateway.domain.invalid import invalid
from mcp_gateway.domain.market import CANDLE_LIMIT, TimeframeName
from mcp_gateway.domain.orders import PairName
from mcp_gateway.errors import RequestInvalid

MOST_PARAMETERS = 16
DEFAULT_LIMIT = 500  # the predecessor's; over MCP it is 100, for a model pays by the token


def _digits(value: object) -> object:
    # int() takes " 5 ", "+5", "1_000" and other scripts' digits; a URL has no need of them.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("a whole number in decimal digits")
    return value


def _word(value: object) -> object:
    # bool takes "yes", "on", "1" and "TRUE"; the document promises true and false.
    if isinstance(value, str) and value not in {"true", "false"}:
        raise ValueError("true or false")
    return value


class NoQuery(BaseModel):
    """A route that takes no parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CandlesQuery(NoQuery):
    """Parameters of GET /api/v1/candles."""

    pair: PairName = Field(description="BASE/QUOTE, such as BTC/USDT.")
    timeframe: TimeframeName = Field(description="5m, 15m, 1h, 4h, 1d or whatever the bot serves.")
    limit: Annotated[int, BeforeValidator(_digits)] = Field(
        DEFAULT_LIMIT, ge=1, le=CANDLE_LIMIT, description="How many candles, the latest ones."
    )
    use_cache: Annotated[bool, BeforeValidator(_word)] = Field(
        default=True, description="Whether a kept answer will do."
    )


class PositionsQuery(NoQuery):
    """Parameters of GET /api/v1/positions/open."""

    pair: PairName | None = Field(None, description="Only the positions of this pair.")


Query = TypeVar("Query", bound=BaseModel)


def read(model: type[Query], query: str) -> Query:
    """Read a raw query string.

    Raises:
        RequestInvalid: an unknown, doubled, missing or wrong parameter, or broken encoding.
    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise RequestInvalid("The query string is malformed.") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise RequestInvalid("A query parameter appears twice.")
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        raise invalid(error) from None
