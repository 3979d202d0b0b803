"""What would happen to an order now, rule by rule, for the person who wrote the rules."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from mcp_gateway.domain.invalid import read
from mcp_gateway.domain.orders import Check, OrderRequest, canonical
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.orders.sending.dry_run import DryRun, dry_run
from mcp_gateway.orders.sending.intake import new_record
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.risk.policy import Policy, as_json
from mcp_gateway.risk.rules import RULES, Rule

LIMIT: Final = "limit"
# They hold an order to the dry run that it brings along; here there was none.
OF_A_PREVIEW: Final = frozenset(rule.code for rule in RULES if rule.preview == "compared")


async def explain(submission: Submission, args: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """Return what the judge says of an order that an operator describes; nothing is sent.

    Args:
        args: ``agent``, ``pair``, ``side``, ``amount`` (base), ``price`` (quote per base, of a
            limit order).
        issuer: of an agent that has no orders yet; a sell closes only what the same one bought.

    Raises:
        RequestInvalid: there can be no such order.
        BotUnavailable: the bot can't be asked.
    """
    order = _order(args)
    agent = order.agent or ""
    earlier = await submission.ledger.recent(limit=1, agent=agent)
    issuer = earlier[0].issuer if earlier else issuer
    finder = submission.finder
    record = new_record(
        order, agent, Principal(issuer, agent, frozenset()), carrier=submission.ledger.holder,
        bot=finder.bot_name, mode=finder.declared_mode, now=submission.clock.now(),
    )  # fmt: skip
    made = await dry_run(submission, record, order)
    return _told(order, made, submission.policies.current)


def _order(args: Mapping[str, Any]) -> OrderRequest:
    known = {name: args.get(name) for name in ("agent", "pair", "side", "amount", "price")}
    kind = "market" if known["price"] is None else LIMIT
    if known["agent"] is None:
        raise RequestInvalid("agent is missing.")
    return read(OrderRequest, {"request_id": uuid4(), "order_type": kind} | known)


def _told(order: OrderRequest, made: DryRun, policy: Policy) -> dict[str, Any]:
    verdict = made.verdict
    checks = {check.rule: check for check in verdict.checks if check.rule not in OF_A_PREVIEW}
    settings = _settings(policy, order.agent or "")
    outcome = "pending_approval" if verdict.needs_approval else "placed"
    return {
        "agent": order.agent,
        "pair": order.pair,
        "side": order.side,
        "amount": canonical(order.amount),
        "order_type": order.order_type,
        "outcome": "denied" if verdict.failed else outcome,
        "codes": [check.rule for check in verdict.failed],
        "mode": made.facts.bot.mode,
        "policy": verdict.policy,
        "price": _number(verdict.price),
        "estimated_cost": _number(verdict.cost),
        "worst_price": _number(verdict.worst_price),
        "worst_cost": _number(verdict.worst_cost),
        "rules": [
            _row(rule, checks.get(rule.code), settings)
            for rule in RULES
            if rule.binding(order.side)
        ],
    }


def _settings(policy: Policy, agent: str) -> set[str]:
    """Return the names of the settings that limit something, as rules name them."""
    found = {name for name, value in as_json(policy.limits(agent)).items() if value}
    return found | {f"total.{name}" for name, value in as_json(policy.totals).items() if value}


def _row(rule: Rule, check: Check | None, settings: set[str]) -> dict[str, Any]:
    """Return one rule and what it finds.

    ``unset`` where the policy has no such limit, ``idle`` where it is not about this order.
    """
    told = {"rule": rule.code, "says": rule.says, "setting": rule.setting}
    if check is None:
        unset = rule.setting is not None and rule.setting not in settings
        nothing = {"limit": None, "value": None, "left": None}
        return told | {"result": "unset" if unset else "idle"} | nothing
    result = "passed" if check.passed else "failed"
    return told | {
        "result": result, "limit": check.limit, "value": check.value, "left": check.left,
    }  # fmt: skip


def _number(value: Decimal | None) -> str | None:
    return None if value is None else canonical(value)
