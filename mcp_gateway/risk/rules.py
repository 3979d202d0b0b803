"""Every rule that an order is held against, in the order in which they are told. Pure.

A rule binds entries, exits or both; exits are never trapped by a rule about entries. One
that can't be evaluated denies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from mcp_gateway.domain.orders import Check
from mcp_gateway.risk.case import Case
from mcp_gateway.risk.checks import allowed, bot, exits, exposure, pace, size
from mcp_gateway.risk.checks.finding import Finding

Binds = Literal["entries", "exits", "both"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its code, whom it binds, and our sentence for what must hold.

    Args:
        find: returns None where the rule says nothing about this order.
        setting: of the policy, which it holds an order to.
        leaves: whether it leaves something, whatever the next order is: to the agent, or to it
            in each pair.
        preview: whether it wants one, or compares the order with the one that it brings along.
    """

    code: str
    binds: Binds
    says: str
    find: Callable[[Case], Finding | None]
    setting: str | None = None
    leaves: Literal["agent", "pair"] | None = None
    preview: Literal["wanted", "compared"] | None = None

    def binding(self, side: str) -> bool:
        """Tell whether it is asked about orders of this side."""
        return self.binds == "both" or (self.binds == "entries") == (side == "buy")

    def check(self, case: Case) -> Check | None:
        """Hold an order against it."""
        found = self.find(case)
        return None if found is None else Check(self.code, found.passed, self.says, *found[1:])


RULES: Final = (
    Rule(
        "trading_halted", "entries",
        "Trading must not be halted.",
        allowed.not_halted,
    ),
    Rule(
        "mode_mismatch", "both",
        "The bot must be in the mode that the operator declared.",
        bot.mode,
    ),
    Rule(
        "live_needs_policy", "entries",
        "Real money needs a policy that a person wrote.",
        bot.live_needs_policy,
    ),
    Rule(
        "futures_not_served", "both",
        "Orders are served on spot bots only.",
        lambda case: Finding(case.facts.bot.spot),
    ),
    Rule(
        "bot_not_running", "both",
        "The bot must be running.",
        bot.running,
    ),
    Rule(
        "entries_disabled", "entries",
        "The bot must allow entries through its API (force_entry_enable).",
        lambda case: Finding(case.facts.bot.entries_enabled),
    ),
    Rule(
        "agent_disabled", "entries",
        "The agent must be enabled.",
        allowed.enabled, "enabled",
    ),
    Rule(
        "outside_hours", "entries",
        "It must be within the trading hours.",
        allowed.hours, "hours",
    ),
    Rule(
        "pair_not_allowed", "entries",
        "The policy must allow the agent this pair.",
        allowed.pair_allowed, "pairs",
    ),
    Rule(
        "side_not_allowed", "entries",
        "The policy must allow the agent to buy.",
        lambda case: allowed.one_of(case.limits.sides, case.order.side), "sides",
    ),
    Rule(
        "order_type_not_allowed", "entries",
        "The policy must allow the agent this order type.",
        lambda case: allowed.one_of(case.limits.order_types, case.order.order_type), "order_types",
    ),
    Rule(
        "pair_not_whitelisted", "entries",
        "The pair must be on the bot's whitelist.",
        bot.whitelisted,
    ),
    Rule(
        "pair_blacklisted", "entries",
        "The pair must not be on the bot's blacklist.",
        bot.blacklisted,
    ),
    Rule(
        "pair_locked", "entries",
        "The bot must not have locked the pair.",
        bot.locked,
    ),
    Rule(
        "order_under_review", "entries",
        "No earlier order of the agent in this pair may wait for the operator.",
        lambda case: Finding(not case.standing.under_review),
    ),
    Rule(
        "price_unavailable", "entries",
        "The bot must have told a price lately.",
        size.price_age, "price_age_s",
    ),
    Rule(
        "price_collar", "entries",
        "A limit price must lie within the collar around the last price.",
        size.collar, "price_collar",
    ),
    Rule(
        "market_unknown", "entries",
        "Lot step and minimum stake of the pair must be known.",
        size.market_known, "markets",
    ),
    Rule(
        "amount_below_step", "both",
        "The amount must be at least one lot step.",
        size.step,
    ),
    Rule(
        "stake_below_minimum", "entries",
        "The stake must reach the smallest one that the bot buys as it is.",
        size.least_stake,
    ),
    Rule(
        "amount_too_large", "entries",
        "The amount must not exceed the pair's largest one.",
        size.amount, "markets.largest_amount",
    ),
    Rule(
        "notional_too_large", "entries",
        "Stake and fee must not exceed the largest notional of one order.",
        size.order_notional, "order_notional", leaves="agent",
    ),
    Rule(
        "pair_notional", "entries",
        "What is held in the pair must stay within its limit.",
        exposure.pair_notional, "pair_notional", leaves="pair",
    ),
    Rule(
        "agent_notional", "entries",
        "What the agent holds must stay within its limit.",
        exposure.agent_notional, "agent_notional", leaves="agent",
    ),
    Rule(
        "total_notional", "entries",
        "What all hold must stay within the limit.",
        exposure.total_notional, "total.notional", leaves="agent",
    ),
    Rule(
        "agent_positions", "entries",
        "The agent must not hold more positions than allowed.",
        exposure.agent_positions, "agent_positions", leaves="agent",
    ),
    Rule(
        "total_positions", "entries",
        "All together must not hold more positions than allowed.",
        exposure.total_positions, "total.positions", leaves="agent",
    ),
    Rule(
        "order_rate", "entries",
        "The agent must not send more entries a minute than allowed.",
        lambda case: pace.per_minute(case.limits.orders_per_minute, case, case.asked.agent), "orders_per_minute", leaves="agent",
    ),
    Rule(
        "total_order_rate", "entries",
        "All together must not send more entries a minute than allowed.",
        lambda case: pace.per_minute(case.asked.policy.totals.orders_per_minute, case, None), "total.orders_per_minute", leaves="agent",
    ),
    Rule(
        "daily_orders", "entries",
        "The agent must not send more entries a day than allowed.",
        lambda case: pace.per_day(case.limits.orders_per_day, case, case.asked.agent), "orders_per_day", leaves="agent",
    ),
    Rule(
        "total_daily_orders", "entries",
        "All together must not send more entries a day than allowed.",
        lambda case: pace.per_day(case.asked.policy.totals.orders_per_day, case, None), "total.orders_per_day", leaves="agent",
    ),
    Rule(
        "daily_notional", "entries",
        "The agent's entries of the day must stay within their limit.",
        lambda case: pace.daily_notional(case.limits.daily_notional, case, case.asked.agent), "daily_notional", leaves="agent",
    ),
    Rule(
        "total_daily_notional", "entries",
        "All entries of the day must stay within their limit.",
        lambda case: pace.daily_notional(case.asked.policy.totals.daily_notional, case, None), "total.daily_notional", leaves="agent",
    ),
    Rule(
        "daily_loss", "entries",
        "The agent's loss of the day must be below its limit.",
        lambda case: pace.daily_loss(case.limits.daily_loss, case, case.asked.agent), "daily_loss", leaves="agent",
    ),
    Rule(
        "total_daily_loss", "entries",
        "The loss of the day must be below its limit.",
        lambda case: pace.daily_loss(case.asked.policy.totals.daily_loss, case, None), "total.daily_loss", leaves="agent",
    ),
    Rule(
        "duplicate_order", "entries",
        "The agent must not send the same order again within the window.",
        pace.not_again, "duplicate_window_s",
    ),
    Rule(
        "repeat_throttle", "entries",
        "The agent must not enter the pair again and again.",
        pace.repeats, "repeats", leaves="pair",
    ),
    Rule(
        "balance_too_small", "entries",
        "The free balance must cover cost and fee.",
        size.balance, leaves="agent",
    ),
    Rule(
        "no_free_slot", "entries",
        "The bot must have a free slot.",
        bot.slots, leaves="agent",
    ),
    Rule(
        "position_exists", "entries",
        "The pair must not be held already.",
        bot.pair_is_free,
    ),
    Rule(
        "preview_required", "entries",
        "The order needs the preview_id of a dry run.",
        allowed.preview, "preview_required", preview="wanted",
    ),
    Rule(
        "policy_changed", "entries",
        "The policy must be the one of the preview.",
        allowed.policy_as_previewed, preview="compared",
    ),
    Rule(
        "price_moved", "entries",
        "The price must be near the one of the preview.",
        allowed.price_as_previewed, "price_tolerance", preview="compared",
    ),
    Rule(
        "approval_exceeded", "entries",
        "Stake and fee must not exceed what was approved.",
        allowed.as_approved,
    ),
    Rule(
        "position_not_yours", "exits",
        "A sell closes what the agent may close.",
        exits.yours, "closes",
    ),
    Rule(
        "nothing_to_sell", "exits",
        "There must be something to sell.",
        exits.something_held,
    ),
    Rule(
        "more_than_held", "exits",
        "The amount must not exceed what is held.",
        exits.not_more_than_held,
    ),
)  # fmt: skip
