"""From environment variables to fields and back, and what is wrong with them, by name."""

import difflib
import os
from collections.abc import Mapping
from typing import Any

from dotenv import dotenv_values
from pydantic import AliasChoices, BaseModel, ValidationError

OWN_PREFIX = "MCP_GATEWAY_"
ENV_FILE = ".env"
Model = type[BaseModel]


def environment_name(model: Model, field: str) -> str:
    """Return the environment variable that fills a field."""
    alias = model.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else field


def known_names(model: Model) -> dict[str, str]:
    """Return every environment variable with the field that it fills."""
    return {environment_name(model, field): field for field in model.model_fields}


def by_environment(model: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of fields under the only names by which the model can be filled.

    A field answers to its environment variable alone: were it filled by its own name too, a
    variable ``port`` in the environment would be read as well.

    Raises:
        KeyError: the model has no such field.
    """
    return {environment_name(model, field): value for field, value in values.items()}


def told(error: ValidationError) -> list[str]:
    """Return one line for each variable that is wrong, its name first."""
    return [_fault(item) for item in error.errors(include_url=False)]


def _fault(item: Any) -> str:
    name = item["loc"][0] if item["loc"] else "settings"
    return f"{name}: {item['msg'].removeprefix('Value error, ')}"


def readable(model: Model, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field that validates by itself, so one fault does not hide the next."""
    values: dict[str, Any] = {}
    present = {**dotenv_values(ENV_FILE), **os.environ}
    for name, field in known_names(model).items():
        given = overrides.get(field, present.get(name))
        if given in (None, ""):
            continue
        try:
            checked: Any = model.__pydantic_validator__.validate_assignment(
                model.model_construct(), field, given
            )
        except ValidationError:
            continue
        values[field] = getattr(checked, field)
    return values


def unknown_names(model: Model) -> list[str]:
    """Name the variables with our prefix that nothing reads: a typing error would be silent."""
    known = known_names(model)
    present = {**dotenv_values(ENV_FILE), **os.environ}
    faults = []
    for name in sorted(present):
        if name.startswith(OWN_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"{name}: no such setting{hint}")
    return faults
