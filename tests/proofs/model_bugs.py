"""Bugs that the model has to find."""

from typing import Final

from tests.proofs.variants import Change, Variant

PROOF: Final = ("-m", "tests.proofs.model", "--examples", "1000", "--to-the-first")


def _bug(name: str, file: str, old: str, new: str) -> Variant:
    return Variant(name, (Change(f"mcp_gateway/orders/{file}", old, new),), PROOF)


MODEL_BUGS: Final = (
    _bug(
        "a known request_id is answered whatever it is used for", "service.py",
        "        if record.fingerprint != print_of_this:\n",
        "        if record.fingerprint != print_of_this and not record.order_id:\n",
    ),
    _bug(
        "two orders have one fingerprint", "sending/intake.py",
        "        fingerprint=fingerprint(order, agent),\n",
        "        fingerprint=agent,\n",
    ),
    _bug(
        "a replay is sent again", "service.py",
        "                if received.seen is None:\n"
        "                    return received.record, False\n",
        "                if received.seen is None:\n"
        "                    if received.record.state is State.UNKNOWN:\n"
        "                        again = received.record\n"
        "                        quote = again.quote_sent or again.amount\n"
        "                        if again.side == \"buy\":\n"
        "                            from mcp_gateway.freqtrade.orders import Entry\n"
        "                            await self._submission.bot.enter(Entry(\n"
        "                                again.pair, quote, again.order_type, again.price, again.tag\n"
        "                            ))\n"
        "                    return received.record, False\n",
    ),
    _bug(
        "a caller who hangs up takes the order along", "book/detached.py",
        "        self._group.start_soon(body)\n        await done.wait()\n",
        "        await body()\n",
    ),
    _bug(
        "a twin does not wait, and sends", "service.py",
        "                received = await self._ledger.receive(record, event)\n",
        "                received = await self._ledger.receive(record, event)\n"
        "                if received.seen is None and received.record.state in protocol.CARRIED:\n"
        "                    import uuid\n"
        "                    from dataclasses import replace\n"
        "                    record = replace(record, request_id=uuid.uuid4())\n"
        "                    event = audit_event(record, origin)\n"
        "                    received = await self._ledger.receive(record, event)\n",
    ),
)  # fmt: skip
