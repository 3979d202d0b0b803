"""The one table: operation → scopes, whether signed, whether it writes, which quota it spends.

Tools, resources, prompts, completion and REST routes all stand here by name, so the faces
cannot differ in what they ask of a caller.
"""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

# What each allows: docs/configuration.md.
SCOPES: Final = (
    "market:read",
    "positions:read",
    "orders:preview",
    "orders:create",
    "orders:live",
    "orders:approve",
    "ops:halt",
    "audit:read",
)
# What the local principal of stdio may do unless it is told otherwise: read and preview.
DEFAULT_LOCAL_SCOPES: Final = ("market:read", "positions:read", "orders:preview")


Shared = Literal["all_calls", "server"]
ALL_CALLS: Final = "all_calls"  # everything that one caller does, but for what stands apart
SERVER: Final = "server"  # everything that all callers do together


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a caller can do.

    ``scopes``: any one of them suffices. ``live_scope``: wanted too, on a gateway to a bot that
    trades real money. ``signed``: over HTTP the bytes must be signed.
    ``quota``: the name of the bucket that a call spends from. ``shares``: the wider ones that
    it spends from as well, all or none of them. ``reserve``: the bucket from which exits spend
    when one of those is empty.
    """

    name: str
    scopes: frozenset[str]
    quota: str
    signed: bool = False
    writes: bool = False
    reserve: str | None = None
    live_scope: str | None = None
    shares: tuple[Shared, ...] = (ALL_CALLS, SERVER)


def _operation(
    name: str,
    *scopes: str,
    quota: str | None = None,
    signed: bool = False,
    writes: bool = False,
    reserve: str | None = None,
    live: str | None = None,
    shares: tuple[Shared, ...] = (ALL_CALLS, SERVER),
) -> Operation:
    return Operation(name, frozenset(scopes), quota or name, signed, writes, reserve, live, shares)


_TABLE = (
    _operation("get_candles", "market:read"),
    _operation("get_open_positions", "positions:read"),
    _operation("get_account", "positions:read"),
    _operation("dry_run_order", "orders:preview"),
    _operation(
        "create_order",
        "orders:create",
        live="orders:live",
        signed=True,
        writes=True,
        reserve="exits",
    ),
    _operation("get_order", "orders:preview", "orders:create"),
    # A cancel is an exit whatever it cancels: it shares no quota that somebody could flood.
    _operation(
        "cancel_order",
        "orders:create",
        live="orders:live",
        signed=True,
        writes=True,
        shares=(),
    ),
    # What a person decides; no tool does, and no flood of agents keeps a person out.
    _operation("list_approvals", "orders:approve", shares=()),
    _operation("approve_order", "orders:approve", signed=True, writes=True, shares=()),
    _operation("decline_order", "orders:approve", signed=True, writes=True, shares=()),
    # Any such token may halt, people resume.
    _operation("halt", "ops:halt", signed=True, writes=True, shares=()),
    _operation("list_halts", "ops:halt", shares=()),
    _operation("release_halt", "ops:halt", signed=True, writes=True, shares=()),
    _operation("read_pairs", "market:read", quota="read_resource"),
    _operation("read_candles", "market:read", quota="get_candles"),
    _operation("read_positions", "positions:read", quota="get_open_positions"),
    _operation("read_order", "orders:preview", "orders:create", quota="get_order"),
    _operation("read_limits", "positions:read", quota="get_account"),
    _operation("unknown_resource", *SCOPES, quota="read_resource"),
    _operation("unknown_tool", *SCOPES, quota="unknown_tool"),
    _operation("get_prompt", "market:read"),
    _operation("complete", "market:read"),
    # Lists of tools, resources, templates and prompts: a client asks for them by itself, often
    # after every call, so they take nothing from what the agent itself may ask.
    _operation("list", *SCOPES, shares=(SERVER,)),
)
OPERATIONS: Final[dict[str, Operation]] = {operation.name: operation for operation in _TABLE}

TOOLS: Final = (
    "get_candles",
    "get_open_positions",
    "dry_run_order",
    "create_order",
    "get_order",
    "cancel_order",
    "get_account",
)


def resource_operation(uri: str) -> Operation:
    """Return the operation that reading ``uri`` is; ``unknown_resource`` where none fits."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # "[::1" is no address
        return OPERATIONS["unknown_resource"]
    by_authority = {
        ("freqtrade", "pairs"): "read_pairs",
        ("freqtrade", "candles"): "read_candles",
        ("freqtrade", "positions"): "read_positions",
        ("gateway", "orders"): "read_order",
        ("gateway", "limits"): "read_limits",
    }
    return OPERATIONS[by_authority.get((parts.scheme, parts.netloc), "unknown_resource")]
