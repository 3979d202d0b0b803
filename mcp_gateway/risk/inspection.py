"""What an operator is told of the policy: JSON-ready."""

from typing import Any

from mcp_gateway.risk.doubts import doubts
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import Policy
from mcp_gateway.risk.rendering import as_toml


def shown(keeper: PolicyKeeper) -> dict[str, Any]:
    """Return the policy in force, what waits for a person, and what is wrong with the file."""
    pending = keeper.pending
    waits = None
    if pending is not None:
        waits = {"hash": pending.policy.hash, "loosens": list(pending.changes.loosened)}
    path = None if keeper.path is None else str(keeper.path)
    return {"file": path, **described(keeper.current), "pending": waits, "faults": [*keeper.faults]}


def described(policy: Policy) -> dict[str, Any]:
    """Return a policy as its file would have it, with its hash and what is odd about it."""
    return {
        "hash": policy.hash,
        "written": policy.written,
        "policy": as_toml(policy),
        "warnings": list(doubts(policy)),
    }
