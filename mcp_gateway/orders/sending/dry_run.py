"""An order held against every rule as ``create`` would do it now, with nothing written or sent."""

from dataclasses import dataclass

from mcp_gateway.domain.orders import OrderRecord, OrderRequest
from mcp_gateway.orders.sending.preview import seen_by
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.risk.facts import Facts, Grants
from mcp_gateway.risk.judge import Verdict, judge


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the judge says, on what, and what a preview of it would grant the order."""

    facts: Facts
    granted: Grants
    verdict: Verdict


async def dry_run(submission: Submission, record: OrderRecord, order: OrderRequest) -> DryRun:
    """Judge an order that is not in the ledger.

    Raises:
        BotUnavailable: the bot can't be asked.
        StoreUnavailable: the ledger does not tell what stands.
    """
    ledger = submission.ledger
    seen = await ledger.mark()  # before the bot is asked: nothing may fall in between
    facts = await submission.finder.facts(record)
    standing = submission.halts.with_own(await ledger.standing(record, seen))
    granted = seen_by(order, facts, submission.policies.current)
    verdict = judge(submission.asked(record, order, granted), facts, standing)
    return DryRun(facts, granted, verdict)
