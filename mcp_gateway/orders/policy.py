"""The policy file: what the operator tells the gateway that nobody else can.

    [markets."BTC/USDT"]
    lot_step = "0.00001"          # base
    minimum_stake = "5"           # quote: the exchange's own minimum, without any reserve

    [markets."*/USDT"]            # every pair of this quote; the exact pair wins, field by field
    minimum_stake = "10"

The bot's API tells neither of them before a first trade, and a stake below the minimum is
raised in silence.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mcp_gateway.domain.market import NOTHING_KNOWN, MarketRules, base_and_quote, is_pair
from mcp_gateway.domain.orders import PositiveDecimal
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings, environment_name

_PATTERN: Final = re.compile(r"\*/[A-Z0-9]{1,20}", re.ASCII)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)  # a TOML key that needs no quotes
_EXTRA: Final = "extra_forbidden"
LARGEST_BYTES: Final = 1_000_000  # ten thousand pairs
MOST_FAULTS: Final = 50  # told at once
# Parsed again in search of the faults' lines, in characters: less than a second.
MOST_SEARCHED: Final = 1_000_000

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's rules; ``markets`` by pair, or by ``*/QUOTE`` for all of a quote."""

    markets: Mapping[str, MarketRules] = field(default_factory=lambda: MappingProxyType({}))

    def market(self, pair: str) -> MarketRules:
        """Return what is known of a pair: the exact pair first, then ``*/QUOTE``."""
        _, quote = base_and_quote(pair)
        wider = self.markets.get(f"*/{quote}", NOTHING_KNOWN)
        return self.markets.get(pair, NOTHING_KNOWN).filled_from(wider)


def _market_name(name: str) -> str:
    if not is_pair(name) and not _PATTERN.fullmatch(name):
        raise ValueError("a pair such as BTC/USDT, or */USDT")
    return name


class _Strict(BaseModel):
    """A misspelt key would leave a rule out in silence, so there is none but the known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Market(_Strict):
    lot_step: PositiveDecimal | None = None
    minimum_stake: PositiveDecimal | None = None
    minimum_amount: PositiveDecimal | None = None

    def rules(self) -> MarketRules:
        return MarketRules(self.lot_step, self.minimum_stake, self.minimum_amount)


class _Document(_Strict):
    """The whole file, one field for each of its sections."""

    markets: dict[Annotated[str, AfterValidator(_market_name)], _Market] = {}

    def policy(self) -> Policy:
        markets = {name: market.rules() for name, market in self.markets.items()}
        return Policy(markets=MappingProxyType(markets))


def load_policy(path: Path | None) -> Policy:
    """Read the policy file; without one, nothing is told.

    Raises:
        ConfigurationError: every fault of the file, but for those beyond the first fifty, one
            line each, with the line's number where it can be found in good time.
    """
    if path is None:
        return Policy()
    text, document = _read(path)
    try:
        return _Document.model_validate(document).policy()
    except ValidationError as error:
        raise _refused(_faults(error, text)) from None


def policy_faults(settings: Settings) -> list[str]:
    """Return what is wrong with the file that the settings name, for ``Settings.load``."""
    try:
        load_policy(settings.policy)
    except ConfigurationError as error:
        return list(error.faults)
    return []


def _refused(faults: list[str]) -> ConfigurationError:
    name = environment_name("policy")
    return ConfigurationError([f"{name}: {fault}" for fault in faults])


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = _text(path)
        return text, _parsed(text)
    except OSError as error:
        raise _refused([f"{path} cannot be read ({error.strerror})"]) from None
    except UnicodeDecodeError:
        raise _refused(["not TOML in UTF-8"]) from None
    except ValueError as error:
        raise _refused([f"not TOML: {error}"]) from None
    except RecursionError:
        raise _refused(["not TOML that can be read: its brackets go too deep"]) from None
    except ArithmeticError:  # what Decimal says of an exponent beyond its own
        raise _refused(["not TOML: a number in it is beyond all bounds"]) from None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(LARGEST_BYTES + 1)
    if len(raw) > LARGEST_BYTES:
        raise _refused([f"larger than {LARGEST_BYTES} bytes"])
    return raw.decode("utf-8").replace("\r\n", "\n")


def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=Decimal)  # a float would not be what was written


def _faults(error: ValidationError, text: str) -> list[str]:
    """Return one line for each fault, in the order of the file; the last says how many more."""
    lines = _lines(text)
    found = []
    for item in error.errors(include_url=False):
        keys = tuple(str(part) for part in item["loc"] if part != "[key]")
        known = item["type"] != _EXTRA
        says = item["msg"].removeprefix("Value error, ") if known else "there is no such key"
        line = lines.get(keys)
        place = _written(keys) if line is None else f"line {line}: {_written(keys)}"
        found.append((line is None, line or 0, f"{place}: {says}"))
    told = [fault for *_, fault in sorted(found, key=lambda one: one[:2])]
    rest = len(told) - MOST_FAULTS
    return told if rest <= 0 else [*told[:MOST_FAULTS], f"and {rest} more faults"]


def _written(keys: Keys) -> str:
    return ".".join(key if _BARE.fullmatch(key) else f'"{key}"' for key in keys)


def _lines(text: str) -> dict[Keys, int]:
    """Return the line of every key, as far as it can be told.

    The parser tells no positions of values. So it is given each table once more, line by
    line: a key stands where it is first seen. A long table is parsed very often so: beyond
    MOST_SEARCHED nothing more is looked for.
    """
    found: dict[Keys, int] = {}
    table: list[str] = []
    searched = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("["):
            table.clear()
        table.append(line)
        part = "\n".join(table)
        searched += len(part)
        if searched > MOST_SEARCHED:
            break
        with suppress(ValueError, ArithmeticError, RecursionError):  # amid something longer
            for keys in _keys(_parsed(part)):
                found.setdefault(keys, number)
    return found


def _keys(table: Mapping[str, Any], above: Keys = ()) -> Iterator[Keys]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _keys(value, (*above, key))
