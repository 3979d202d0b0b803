"""Ways to let an order pass a limit, for the proof of the limits to find."""

from typing import Final

from tests.proofs.variants import Change, Variant

LIMITS: Final = ("-m", "tests.proofs.limits", "--to-the-first", "--seeds", "15000")


def _bug(name: str, file: str, old: str, new: str) -> Variant:
    return Variant(name, (Change(f"mcp_gateway/{file}", old, new),), LIMITS)


LIMIT_BUGS: Final = (
    _bug(
        "what others hold is read before the ledger's turn", "orders/sending/submission.py",
        "        def weigh(standing: Standing) -> Sequence[Move]:\n",
        "        early = await self.ledger.standing(record, seen)\n\n"
        "        def weigh(_now: Standing) -> Sequence[Move]:\n"
        "            standing = early\n",
    ),
    _bug(
        "what was placed behind the bot's word is not counted", "orders/sending/submission.py",
        "            return await self.ledger.weigh(record, seen, weigh, origin)\n",
        "            return await self.ledger.weigh(record, 10**9, weigh, origin)\n",
    ),
    _bug(
        "what was sent before is not counted", "risk/facts.py",
        "            sent=tuple(sent),\n", "            sent=(),\n",
    ),
    _bug(
        "what a person has to look at is taken for not done", "risk/facts.py",
        "            doubtful=tuple(one for one in waiting if one.reserved_quote),\n",
        "            doubtful=(),\n",
    ),
    _bug(
        "what nobody knows the end of has cost nothing", "risk/facts.py",
        "        undone = self.state in {State.DENIED, State.REJECTED}\n",
        "        undone = self.state in {State.DENIED, State.REJECTED, State.NEEDS_REVIEW}\n",
    ),
    _bug(
        "what was rejected later is not counted among what was sent", "risk/facts.py",
        "        return [one for one in self.sent if one.at >= since and agent in {None, one.agent}]\n",
        "        return [\n            one for one in self.sent if one.at >= since\n"
        "            and agent in {None, one.agent} and one.costs\n        ]\n",
    ),
    _bug(
        "a number of orders is held against its limit without this one", "risk/checks/pace.py",
        "    return counted(limit, len(sent) + case.counts)\n", "    return counted(limit, len(sent))\n",
    ),
    _bug(
        "the minute is the clock's, not the last sixty seconds", "risk/checks/pace.py",
        "    sent = case.standing.sent_since(case.asked.now - MINUTE, agent=agent)\n",
        "    minute = case.asked.now.replace(second=0, microsecond=0)\n"
        "    sent = case.standing.sent_since(minute, agent=agent)\n",
    ),
    _bug(
        "the minute of all is that of the agent", "risk/rules.py",
        "pace.per_minute(case.asked.policy.totals.orders_per_minute, case, None)",
        "pace.per_minute(case.asked.policy.totals.orders_per_minute, case, case.asked.agent)",
    ),
    _bug(
        "the day begins anew with each hour", "risk/facts.py",
        "    return now.replace(hour=0, minute=0, second=0, microsecond=0)\n",
        "    return now.replace(minute=0, second=0, microsecond=0)\n",
    ),
    _bug(
        "a limit is held against what is there, and not this order on top",
        "risk/checks/exposure.py",
        "open_now + reserved + case.spent", "open_now + reserved",
    ),
    _bug(
        "nobody owns what is open", "risk/case.py",
        "if self.facts.owner(trade) == self.asked.agent", "if self.facts.owner(trade) is None",
    ),
    _bug(
        "what an agent has on its way does not count as its own", "risk/checks/exposure.py",
        "len(case.own_trades) + case.standing.positions(agent=case.asked.agent)",
        "len(case.own_trades)",
    ),
    _bug(
        "an agent's own section is not looked up", "risk/policy.py",
        "        return self.agents.get(agent, self.defaults)\n", "        return self.defaults\n",
    ),
)  # fmt: skip
