"""The policy file: read whole or refused whole, every fault with its line.

    [defaults]                    # of every agent; a key that is not there: as it is built in
    order_notional = "500"        # quote

    [agents."signal-agent"]       # overrides of [defaults], key by key
    pairs = ["BTC/USDT", "*/EUR"]

    [total]                       # all agents together
    daily_loss = "200"

    [markets."BTC/USDT"]          # what the bot's API does not tell
    lot_step = "0.00001"          # base

What each key means stands in ``risk.policy``, what may stand in it in ``risk.sections``.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mcp_gateway.domain.invalid import WORDS
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.risk.policy import BUILT_IN, Policy
from mcp_gateway.risk.sections import Document
from mcp_gateway.settings import Settings, environment_name

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)  # a TOML key that needs no quotes
_EXTRA: Final = "extra_forbidden"
_KEY: Final = "[key]"  # pydantic's mark of a fault in a name and not in what it names
LARGEST_BYTES: Final = 1_000_000  # ten thousand pairs
MOST_FAULTS: Final = 50  # told at once
# Parsed again in search of the faults' lines, in characters: less than a second.
MOST_SEARCHED: Final = 1_000_000

Keys = tuple[str, ...]


def load_policy(path: Path | None) -> Policy:
    """Read the policy file; without one, the built-in policy holds.

    Raises:
        ConfigurationError: every fault of the file, but for those beyond the first fifty, one
            line each, with the line's number where it can be found in good time.
    """
    if path is None:
        return BUILT_IN
    text, document = _read(path)
    if not document:  # cut off, or emptied: nobody who writes a policy means this
        raise _refused(
            [f"{path} is empty; unset {environment_name('policy')} for the built-in one"]
        )
    try:
        return Document.model_validate(document).policy()
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
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not be waited for
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            raise _refused([f"{path} is {'a folder' if stat.S_ISDIR(kind) else 'no file'}"])
        with open(descriptor, "rb", closefd=False) as file:
            raw = file.read(LARGEST_BYTES + 1)
    finally:
        os.close(descriptor)
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
        keys = tuple(part for part in item["loc"] if isinstance(part, str) and part != _KEY)
        says = _says(item, keys)
        item_of_a_list = [f"item {part + 1}" for part in item["loc"] if isinstance(part, int)]
        line = lines.get(keys)
        place = _written(keys) if line is None else f"line {line}: {_written(keys)}"
        found.append((line is None, line or 0, ": ".join([place, *item_of_a_list, says])))
    told = [fault for *_, fault in sorted(found, key=lambda one: one[:2])]
    rest = len(told) - MOST_FAULTS
    return told if rest <= 0 else [*told[:MOST_FAULTS], f"and {rest} more faults"]


def _says(item: Any, keys: Keys) -> str:
    """Return what is wrong in our words: the library's own speak of Python."""
    kind = item["type"]
    if kind == "value_error":
        says = str(item["msg"]).removeprefix("Value error, ")
        is_negative = str(item["input"]).lstrip().startswith("-")
        if is_negative and keys[-1:] == ("daily_loss",):
            return f"{says}; a loss is written without a sign"
        return says
    if kind == _EXTRA:
        return "there is no such key"
    return WORDS.get(kind, "another value").format(**item.get("ctx", {}))


def _written(keys: Keys) -> str:
    return ".".join(key if _BARE.fullmatch(key) else f'"{key}"' for key in keys)


def _lines(text: str) -> dict[Keys, int]:
    """Return the line of every key, as far as it can be told.

    The parser tells no positions of values. So it is given each table once more, line by
    line: a key stands where the text begins with which it is first seen. A long table is
    parsed very often so: beyond MOST_SEARCHED nothing more is looked for.
    """
    found: dict[Keys, int] = {}
    table: list[str] = []
    searched, begun = 0, 1
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("["):
            table.clear()
            begun = number
        table.append(line)
        part = "\n".join(table)
        searched += len(part)
        if searched > MOST_SEARCHED:
            break
        with suppress(ValueError, ArithmeticError, RecursionError):  # amid something longer
            for keys in _keys(_parsed(part)):
                found.setdefault(keys, begun)
            begun = number + 1
    return found


def _keys(table: Mapping[str, Any], above: Keys = ()) -> Iterator[Keys]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _keys(value, (*above, key))
