"""Orders before their judge, by the built-in policy unless a test says otherwise."""

from datetime import datetime

from mcp_gateway.domain.orders import OrderRequest, fingerprint
from mcp_gateway.risk.case import Asked
from mcp_gateway.risk.facts import NO_GRANTS, NOTHING_STANDS, Facts, Grants, Standing
from mcp_gateway.risk.judge import Verdict, judge
from mcp_gateway.risk.policy import BUILT_IN, Policy
from tests.support.clock import START

AGENT = "agent-a"


def judged(
    wanted: OrderRequest,
    facts: Facts,
    standing: Standing = NOTHING_STANDS,
    *,
    policy: Policy = BUILT_IN,
    agent: str = AGENT,
    subject: str | None = None,
    now: datetime = START,
    grants: Grants = NO_GRANTS,
) -> Verdict:
    """Return what the judge says of an order."""
    asked = Asked(wanted, agent, subject or agent, fingerprint(wanted, agent), policy, now, grants)
    return judge(asked, facts, standing)
