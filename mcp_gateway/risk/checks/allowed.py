"""What a person allows: halts, hours, pairs, previews, approvals."""

from collections.abc import Iterable

from mcp_gateway.risk.case import Case
from mcp_gateway.risk.checks.finding import Finding, at_most, money
from mcp_gateway.risk.policy import allows_pair


def not_halted(case: Case) -> Finding:
    asked = case.asked
    names = asked.agent, asked.subject
    bound = [halt for halt in case.standing.halts if halt.binds(case.order.pair, *names)]
    return Finding(not bound, value=None if not bound else f"{bound[0].scope} ({bound[0].code})")


def enabled(case: Case) -> Finding:
    asked = case.asked
    stopped = [
        name for name in (asked.agent, asked.subject) if not asked.policy.limits(name).enabled
    ]
    return Finding(not stopped, value=stopped[0] if stopped else asked.agent)


def pair_allowed(case: Case) -> Finding:
    return Finding(allows_pair(case.limits.pairs, case.order.pair), value=case.order.pair)


def one_of(allowed: Iterable[str], value: str) -> Finding:
    return Finding(value in allowed, " ".join(sorted(allowed)), value)


def hours(case: Case) -> Finding | None:
    spans = case.limits.hours
    if spans is None:
        return None
    now = case.asked.now
    return Finding(any(span.covers(now) for span in spans), value=f"{now:%a %H:%M} UTC".lower())


def policy_as_previewed(case: Case) -> Finding | None:
    seen = case.asked.grants.previewed
    if seen is None:
        return None
    now = case.asked.policy.hash
    return Finding(seen.policy == now, now, seen.policy)


def price_as_previewed(case: Case) -> Finding | None:
    seen = case.asked.grants.previewed
    if seen is None or case.order.price is not None:
        return None
    furthest, last = seen.price * case.limits.price_tolerance, case.price
    if last is None:
        return Finding(False, money(furthest))
    return Finding(
        abs(last - seen.price) <= furthest, money(furthest), money(abs(last - seen.price))
    )


def preview(case: Case) -> Finding | None:
    if not case.limits.preview_required:
        return None
    # What a person has approved was let in with its preview; it goes on without.
    grants = case.asked.grants
    return Finding(grants.previewed is not None or grants.approved is not None)


def as_approved(case: Case) -> Finding | None:
    approved = case.asked.grants.approved
    return None if approved is None else at_most(approved, case.spent)
