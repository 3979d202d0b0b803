"""What only a running gateway can answer: its policy, and closing what it opened.

Each verb is ``async (gateway, args, operator)``; the SQL libraries are imported within, behind
the gateway's own first answers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp_gateway.domain.invalid import read
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.risk.inspection import shown

if TYPE_CHECKING:
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.orders.flatten import Flattening


async def show_policy(
    gateway: "Gateway", _args: Mapping[str, Any], _operator: str
) -> dict[str, Any]:
    """Return the policy in force, and what waits or is wrong, as of now."""
    await gateway.policies.look()
    return shown(gateway.policies)


async def accept_policy(
    gateway: "Gateway", args: Mapping[str, Any], operator: str
) -> dict[str, Any]:
    """Put the waiting policy into force, named by its ``hash``."""
    wanted = args.get("hash")
    if not isinstance(wanted, str):
        raise RequestInvalid("hash is the hash of the policy that waits.")
    made = await gateway.policies.accept(wanted, operator)
    return shown(gateway.policies) | {"operator": operator, "accepted": list(made.loosened)}


async def explain_order(
    gateway: "Gateway", args: Mapping[str, Any], _operator: str
) -> dict[str, Any]:
    """Return what would happen to an order now, rule by rule."""
    books = await gateway.books()
    from mcp_gateway.orders.sending.explain import explain

    await gateway.policies.look()
    return await explain(books.reconciler.submission, args, gateway.settings.issuer)


async def cancel_order(
    gateway: "Gateway", args: Mapping[str, Any], operator: str
) -> dict[str, Any]:
    """Take one order back by its ``id``, in its agent's place, for a ``reason``."""
    books = await gateway.books()
    from mcp_gateway.orders.records import cancel

    return await cancel(books.records, books.orders.take_back, args, operator)


async def plan_flattening(
    gateway: "Gateway", args: Mapping[str, Any], operator: str
) -> dict[str, Any]:
    """Return what ``flatten`` would close now, under the ``confirmation`` that is given."""
    flattening, _ = await _flattening(gateway, args, operator)
    plan = await flattening.plan()
    return plan.as_json() | {"confirmation": str(flattening.confirmation)}


async def flatten(gateway: "Gateway", args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Halt everything and close what this gateway opened, for a ``reason``."""
    flattening, reason = await _flattening(gateway, args, operator)
    return await flattening.run(reason)


async def _flattening(
    gateway: "Gateway", args: Mapping[str, Any], operator: str
) -> tuple["Flattening", str]:
    books = await gateway.books()
    from mcp_gateway.orders.flatten import Flattening, FlattenRequest

    asked, records = read(FlattenRequest, args), books.records
    flattening = Flattening(
        books.orders, books.halts, records.ledger, records.bot, records.bot_name,
        gateway.settings.mode, gateway.clock, asked.confirmation, operator,
    )  # fmt: skip
    return flattening, asked.reason
