"""The output schemas of the tools, written short: the whole tool list is read by a model.

They are published and not enforced by the SDK, which would walk every row of a candle
answer; a test holds every real answer against them.
"""

from typing import Any, Final

from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata

_PLAIN: Final = {"string", "number", "integer", "boolean", "array", "object"}
_REFUSAL: Final = ["code", "message", "retryable", "hint"]


def shape(required: str, **optional: str) -> dict[str, Any]:
    """Return an object schema; ``required`` lists ``name:type`` words, ``?`` allows null.

    A refusal fits it too: clients on the TypeScript SDK 1.x hold failures against the schema
    and would show a complaint of their own in place of our code and hint.
    """
    properties: dict[str, Any] = {}
    names = []
    for word in required.split():
        name, _, kind = word.partition(":")
        properties[name] = _type(kind)
        names.append(name)
    properties |= {name: _type(kind) for name, kind in optional.items()}
    either = [{"required": names}, {"required": _REFUSAL}]
    return {"type": "object", "properties": properties, "anyOf": either}


def _type(kind: str) -> dict[str, Any]:
    plain = kind.removesuffix("?")
    if plain not in _PLAIN:
        raise ValueError(f"no JSON type: {kind}")
    # Two branches and not a list of types: some clients map schemas onto one-type dialects.
    null = {"type": "null"}
    return {"anyOf": [{"type": plain}, null]} if kind.endswith("?") else {"type": plain}


class AsSent(FuncMetadata):
    """A tool's metadata whose arguments are validated as they were sent.

    The SDK reads JSON inside of strings: the text "null" became no price at all.
    """

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments untouched."""
        return data


CANDLES: Final = shape(
    "pair:string timeframe:string count:integer start:string? step_s:integer columns:array "
    "rows:array as_of:string age_s:number source:string truncated:boolean next_before:string?",
    resampled_from="string",
)
POSITIONS: Final = shape(
    "total_count:integer positions:array as_of:string age_s:number mode:string source:string"
)
PREVIEW: Final = shape(
    "valid:boolean estimated_cost:number? estimated_fee:number? warnings:array errors:array "
    "mode:string price:number? price_age_s:number? needs_approval:boolean policy:string "
    "checks:array also_passed:array",
    preview_id="string", expires_at="string", expected_amount="number", worst_price="number",
    worst_cost="number",
)  # fmt: skip
RECEIPT: Final = shape(
    "order_id:string request_id:string status:string pair:string side:string amount:number "
    "filled_amount:number timestamp:string message:string outcome:string mode:string "
    "agent:string requested_amount:number average_price:number? fee:number? trade_id:integer? "
    "bot_order_id:string?"
)
ORDER: Final = shape(
    "order_id:string request_id:string status:string outcome:string final:boolean "
    "requested_amount:number filled_amount:number history:array code:string?"
)
ACCOUNT: Final = shape(
    "mode:string declared_mode:string as_of:string balance:object? bot:object limits:object halts:array"
)
