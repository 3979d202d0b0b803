"""The one table of what commands ask of a gateway, through its control socket or without it.

To add a verb: write ``async def verb(part, args, operator)`` in the module of the part that it
works on (``args`` is JSON of whoever owns the socket: read it strictly; ``operator`` is the
account, by the system's word; the answer is JSON-ready), then give it a row here. A command
asks it with ``reach.ask(settings, "the.verb", args)``. What works on something new needs a
part of its own in ``parts``.
"""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcp_gateway.cli.control.parts import (
    APPROVALS,
    CANCELS,
    GATEWAY,
    HALTS,
    RECORDS,
    TOKENS,
    Part,
)

if TYPE_CHECKING:
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.transports.asker import Asker
    from mcp_gateway.transports.control import Verb, Verbs

BOT_ASKED_S: Final = 30.0  # the bot has time-outs of its own, and an order is seen through

# What it works on, what is asked, and the account that asks.
Work = Callable[[Any, Mapping[str, Any], str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """One verb.

    Args:
        part: what it works on.
        name: its function in the module of that part, imported when the verb is first asked.
        deadline_s: how long a running gateway may take; None: as long as any.
        look: the command that tells whether it was done; empty where it changes nothing.
        before_store: it is about no gateway that has run yet: it makes the store where there
            is none, and is never meant for a sandbox.
        once: repeated at the store behind a gateway that took it and went away, it would be
            refused for what it did itself, and say that nothing was done.
    """

    part: Part
    name: str
    deadline_s: float | None = None
    look: str = ""
    before_store: bool = False
    once: bool = False

    @property
    def work(self) -> Work:
        """The function that carries it out."""
        work: Work = getattr(importlib.import_module(self.part.module), self.name)
        return work


VERBS: Final[Mapping[str, Row]] = {
    "orders.list": Row(RECORDS, "list_orders"),
    "orders.show": Row(RECORDS, "show_order"),
    "orders.open": Row(RECORDS, "list_open_entries", deadline_s=4.0),
    "orders.cancel": Row(CANCELS, "cancel_order", deadline_s=BOT_ASKED_S, look="orders show ID"),
    "orders.reconcile": Row(RECORDS, "reconcile_orders", deadline_s=60.0),
    "orders.settle": Row(
        RECORDS, "settle_order", deadline_s=BOT_ASKED_S, look="orders show ID", once=True
    ),
    "audit.tail": Row(RECORDS, "tail_audit"),
    "audit.key": Row(RECORDS, "note_key", look="audit tail", before_store=True),
    "audit.token": Row(RECORDS, "note_token", look="audit tail", before_store=True),
    "approvals.list": Row(APPROVALS, "list_approvals"),
    "approvals.show": Row(APPROVALS, "show_approval"),
    "approvals.approve": Row(
        APPROVALS, "approve", deadline_s=BOT_ASKED_S, look="orders show ID", once=True
    ),
    "approvals.decline": Row(APPROVALS, "decline", look="orders show ID", once=True),
    # Halting must not wait for a gateway that hangs: the file stops it all the same.
    "halt.set": Row(HALTS, "set_halt", deadline_s=4.0, look="halt list"),
    "halt.list": Row(HALTS, "list_halts"),
    "halt.release": Row(HALTS, "release_halts", look="halt list", once=True),
    "halt.strangers": Row(GATEWAY, "find_strangers", deadline_s=4.0),
    "halt.plan": Row(GATEWAY, "plan_flattening", deadline_s=BOT_ASKED_S),
    # Every sell has the order time-out, and there may be some.
    "halt.flatten": Row(GATEWAY, "flatten", deadline_s=600.0, look="orders list"),
    "token.revoke": Row(TOKENS, "revoke_token", look="token inspect"),
    "token.inspect": Row(TOKENS, "inspect_token"),
    "policy.show": Row(GATEWAY, "show_policy"),
    "policy.accept": Row(GATEWAY, "accept_policy", look="policy show"),
    "policy.explain": Row(GATEWAY, "explain_order", deadline_s=BOT_ASKED_S),
}


def control_verbs() -> "Verbs":
    """Return what a running gateway answers at its control socket."""
    return {verb: _answered(row) for verb, row in VERBS.items()}


def _answered(row: Row) -> "Verb":
    async def answer(gateway: "Gateway", args: dict[str, Any], asker: "Asker") -> Any:
        part = await row.part.running(gateway)  # first: behind it the SQL libraries are imported
        asker.must_wait()  # the store may have taken its time
        return await row.work(part, args, asker.account)

    return answer
