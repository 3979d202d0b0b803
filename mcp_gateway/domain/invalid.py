"""Reading what somebody sends: what is wrong with it is told in our words, field by field.

The rejected value is never repeated: it is the caller's text, and a model would read it.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mcp_gateway.errors import RequestInvalid

Read = TypeVar("Read", bound=BaseModel)
MOST_FAULTS = 8
LONGEST_NAME = 40
FORMS = {
    "pair": "a pair in upper case, BASE/QUOTE, e.g. BTC/USDT",
    "timeframe": "a timeframe, e.g. 5m, 1h or 1d",
}


def read(shape: type[Read], document: Any) -> Read:
    """Return a document as a value of its shape; raises RequestInvalid."""
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> RequestInvalid:
    """Return the refusal that names every faulty field, the first one in its message."""
    faults = [_fault(item) for item in error.errors(include_url=False, include_input=False)]
    faults = faults[:MOST_FAULTS]
    first = faults[0]
    return RequestInvalid(
        f"{first['field']}: {first['expected']}",
        detail={"field": first["field"], "faults": faults},
    )


def _fault(item: Any) -> dict[str, str]:
    field = _field(item["loc"])
    if item["type"] == "extra_forbidden":
        return {"field": field, "expected": "no such argument"}
    if item["type"] == "missing":
        return {"field": field, "expected": "required"}
    if item["type"] == "string_pattern_mismatch":  # an example says more to a model
        return {"field": field, "expected": FORMS.get(field, "another form")}
    if item["type"] == "uuid_parsing":  # pydantic would quote the character it stumbled over
        return {"field": field, "expected": "a valid UUID"}
    message = str(item["msg"]).removeprefix("Value error, ")
    name, colon, rest = message.partition(": ")
    if not item["loc"] and colon and name.isidentifier():
        return {"field": name, "expected": rest}  # a rule over the whole order names its field
    return {"field": field, "expected": message}


def _field(location: Sequence[Any]) -> str:
    """Write where the fault is; an unknown argument's name is the caller's, so it is cleaned."""
    text = ".".join(str(part) for part in location) or "body"
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:LONGEST_NAME]
