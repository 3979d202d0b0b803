"""What the control socket answers about the policy: what is in force, what waits, what it would say."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mcp_gateway.errors import RequestInvalid
from mcp_gateway.risk.inspection import shown

if TYPE_CHECKING:
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.transports.control import Verbs


async def show(gateway: "Gateway", _args: Mapping[str, Any], _operator: str) -> dict[str, Any]:
    """Return the policy in force, and what waits or is wrong, as of now."""
    await gateway.policies.look()
    return shown(gateway.policies)


async def accept(gateway: "Gateway", args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Put the waiting policy into force, named by its ``hash``."""
    wanted = args.get("hash")
    if not isinstance(wanted, str):
        raise RequestInvalid("hash is the hash of the policy that waits.")
    made = await gateway.policies.accept(wanted, operator)
    return shown(gateway.policies) | {"operator": operator, "accepted": list(made.loosened)}


async def explain(gateway: "Gateway", args: Mapping[str, Any], _operator: str) -> dict[str, Any]:
    """Return what would happen to an order now, rule by rule."""
    books = await gateway.books()
    # Only now: a gateway that starts must not wait for the SQL libraries behind this.
    from mcp_gateway.orders.sending import explain as explaining

    await gateway.policies.look()
    submission = books.reconciler.submission
    return await explaining.explain(submission, args, gateway.settings.issuer)


POLICY_VERBS: Final["Verbs"] = {
    "policy.show": show,
    "policy.accept": accept,
    "policy.explain": explain,
}
