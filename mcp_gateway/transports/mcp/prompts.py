"""Prompts out of ``prompts/*.md``: one file, one MCP prompt.

A file begins with TOML front matter between ``+++`` lines (title, description, and an
``[[arguments]]`` table each with name, description, kind, required); the rest is the text,
with ``{{name}}`` where an argument belongs. Arguments are checked by kind, so a prompt
can't be made to say something else.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp.types import GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent
from pydantic import TypeAdapter, ValidationError

from mcp_gateway.domain.market import TimeframeName
from mcp_gateway.domain.orders import PairName, PositiveDecimal, Side
from mcp_gateway.errors import ConfigurationError, NotFound, RequestInvalid

_FENCE: Final = "+++"
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_KINDS: Final[dict[str, TypeAdapter[Any]]] = {
    "pair": TypeAdapter(PairName),
    "timeframe": TypeAdapter(TimeframeName),
    "side": TypeAdapter(Side),
    "amount": TypeAdapter(PositiveDecimal),
}


def prompts_folder() -> Path:
    """Return where the prompts lie: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "prompts"
    return inside if inside.is_dir() else package.parent / "prompts"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a prompt; ``kind`` decides what is let in."""

    name: str
    description: str
    kind: str
    required: bool
    default: str


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One prompt as read from its file."""

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    text: str


class PromptLibrary:
    """All prompts, by name."""

    def __init__(self, prompts: Mapping[str, PromptFile]) -> None:
        self._prompts = prompts

    @classmethod
    def load(cls, folder: Path | None = None) -> "PromptLibrary":
        """Read every prompt of a folder.

        Raises:
            ConfigurationError: a file is not a prompt; every fault, by file name.
        """
        prompts, faults = {}, []
        for path in sorted((folder or prompts_folder()).glob("*.md")):
            try:
                prompts[path.stem] = read_prompt(path.stem, path.read_text(encoding="utf-8"))
            except (ValueError, KeyError, TypeError) as error:
                faults.append(f"prompts/{path.name}: {error}")
        if faults:
            raise ConfigurationError(faults)
        return cls(prompts)

    def listed(self) -> list[Prompt]:
        """Return the prompts as the protocol lists them."""
        return [
            Prompt(
                name=one.name,
                title=one.title,
                description=one.description,
                arguments=[
                    PromptArgument(name=a.name, description=a.description, required=a.required)
                    for a in one.arguments
                ],
            )
            for one in self._prompts.values()
        ]

    def render(self, name: str, arguments: Mapping[str, Any]) -> GetPromptResult:
        """Fill a prompt in.

        Raises:
            NotFound: there is no such prompt.
            RequestInvalid: an argument is missing, unknown or not of its kind.
        """
        prompt = self._prompts.get(name)
        if prompt is None:
            raise NotFound(
                "There is no such prompt.",
                code="prompt_unknown",
                hint="Use a name of prompts/list.",
            )
        known = {argument.name for argument in prompt.arguments}
        if set(arguments) - known:
            raise _invalid("arguments", f"only {', '.join(sorted(known)) or 'none'}")
        values = {a.name: _value(a, arguments.get(a.name)) for a in prompt.arguments}
        text = _PLACE.sub(lambda place: values[place[1]], prompt.text)
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description=prompt.description, messages=[message])


def read_prompt(name: str, source: str) -> PromptFile:
    """Read one prompt file.

    Raises:
        ValueError, KeyError, TypeError: front matter or text are not as they must be.
    """
    before, _, rest = source.partition(_FENCE)
    matter, fence, text = rest.partition(f"\n{_FENCE}\n")
    if before.strip() or not fence or not text.strip():
        raise ValueError("front matter between +++ lines, then the text")
    head = tomllib.loads(matter)
    arguments = tuple(_argument(dict(table)) for table in head.pop("arguments", []))
    places = set(_PLACE.findall(text))
    if places != {argument.name for argument in arguments}:
        raise ValueError("the arguments and the {{places}} in the text must be the same")
    title, description = _text(head, "title"), _text(head, "description")
    if head:
        raise ValueError(f"unknown key {', '.join(sorted(head))}")
    return PromptFile(name, title, description, arguments, text.strip() + "\n")


def _argument(table: dict[str, Any]) -> Argument:
    argument = Argument(
        name=_text(table, "name"),
        description=_text(table, "description"),
        kind=_text(table, "kind"),
        required=table.pop("required", True),
        default=table.pop("default", ""),
    )
    if table or argument.kind not in _KINDS:
        raise ValueError(f"argument {argument.name}: kind is one of {', '.join(_KINDS)}")
    if argument.required == bool(argument.default):
        raise ValueError(f"argument {argument.name}: required, or with a default")
    if argument.default:
        _KINDS[argument.kind].validate_python(argument.default)
    return argument


def _text(table: dict[str, Any], key: str) -> str:
    """Take a key that must be there and hold text."""
    value = table.pop(key)
    if not isinstance(value, str):
        raise TypeError(f"{key} is text")
    return value


def _value(argument: Argument, given: Any) -> str:
    if given is None or given == "":
        if argument.required:
            raise _invalid(argument.name, "required")
        return argument.default
    try:
        return str(_KINDS[argument.kind].validate_python(given))
    except ValidationError:
        raise _invalid(argument.name, f"a valid {argument.kind}") from None


def _invalid(field: str, expected: str) -> RequestInvalid:
    return RequestInvalid(f"{field}: {expected}", detail={"field": field})
