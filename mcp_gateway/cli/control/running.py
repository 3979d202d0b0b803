"""What only a running gateway can answer: its policy, and closing what it opened.

Each verb is ``async (gateway, args, operator)``; the SQL libraries are imported within, behind
the gateway's own first answers.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio

from mcp_gateway.domain.invalid import read
from mcp_gateway.errors import BotError, RequestInvalid
from mcp_gateway.risk.inspection import shown

if TYPE_CHECKING:
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.orders.flatten import Flattening

WHITELIST_S: Final = 2.0  # for the bot to tell it; nobody waits longer for a warning


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


async def find_strangers(gateway: "Gateway", args: Mapping[str, Any], _operator: str) -> list[str]:
    """Return a sentence for an ``agent`` or a ``pair`` that nothing here knows: it may be a typo."""
    agent, pair = args.get("agent"), args.get("pair")
    told = []
    if isinstance(agent, str) and not await _is_known(gateway, agent):
        told.append(f"no order, key, token, setting or policy section here names agent {agent!a}")
    if isinstance(pair, str):
        with anyio.move_on_after(WHITELIST_S), suppress(BotError):
            if pair not in await gateway.bot.pairs():
                told.append(f"the bot's whitelist does not have {pair!a}")
    return told


async def _is_known(gateway: "Gateway", agent: str) -> bool:
    settings, records = gateway.settings, (await gateway.books()).records
    now, keyring = gateway.clock.now(), gateway.gate.keyring
    if agent == settings.subject or agent in gateway.policies.current.agents:
        return True
    if any(keyring.keys_of(one, agent, now) for one in (settings.issuer, *gateway.gate.issuers)):
        return True
    if await records.ledger.recent(limit=1, agent=agent):
        return True
    return bool(await records.audit_log.tail(1, subject=agent))  # issued a token, or called


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
