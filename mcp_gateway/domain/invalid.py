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
_TIME = "an ISO 8601 time or Unix seconds"
# By the kinds of pydantic's errors; the library's own sentences speak of Python, and quote input.
WORDS = {
    "extra_forbidden": "no such argument",
    "missing": "required",
    "literal_error": "{expected}",
    "string_type": "text",
    "string_too_short": "text with a length of at least {min_length}",
    "string_too_long": "text with a length of at most {max_length}",
    "too_short": "not empty",
    "too_long": "with a length of at most {max_length}",
    "uuid_type": "a UUID as text",
    "uuid_parsing": "a valid UUID",
    "decimal_type": "a number or a decimal string",
    "decimal_parsing": "a number or a decimal string",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
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
    field, kind = _field(item["loc"]), item["type"]
    if kind == "string_pattern_mismatch":  # an example says more to a model
        return {"field": field, "expected": FORMS.get(field, "another form")}
    if kind != "value_error":
        words = WORDS.get(kind, "another value")
        return {"field": field, "expected": words.format(**item.get("ctx", {}))}
    message = str(item["msg"]).removeprefix("Value error, ")
    name, colon, rest = message.partition(": ")
    if not item["loc"] and colon and name.isidentifier():
        return {"field": name, "expected": rest}  # a rule over the whole order names its field
    return {"field": field, "expected": message}


def _field(location: Sequence[Any]) -> str:
    """Write where the fault is; an unknown argument's name is the caller's, so it is cleaned."""
    text = ".".join(str(part) for part in location) or "body"
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:LONGEST_NAME]
