"""What an operator names an order by: never another one than is meant."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.errors import NotFound, RequestInvalid
from mcp_gateway.orders.records import Records, settle_order, show_order
from tests.support.desk import BOT, Desk, admission, order, stored
from tests.support.review import sold_and_forgotten

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

DECISION = {"finding": "not-placed", "reason": "nothing at the exchange"}


async def shown(desk: Desk, named: str) -> str:
    """Return the order id of what is shown under a name."""
    records = Records(desk.ledger, desk.audit_log, desk.reconciler.bot, BOT)
    told: dict[str, Any] = await show_order(records, {"id": named}, "ann")
    return str(told["order_id"])


async def settled(desk: Desk, named: str) -> str:
    """Return the state of what is settled under a name."""
    records = Records(desk.ledger, desk.audit_log, desk.reconciler.bot, BOT)
    told = await settle_order(records, {"id": named, "decision": DECISION}, "ann")
    return str(told["state"])


async def placed(desk: Desk, subject: str, request_id: UUID) -> OrderRecord:
    """Place an order of one caller under a request id that others may use too."""
    pair = "ETH/USDT" if subject == "agent-b" else "BTC/USDT"
    wanted = order(request_id=request_id, pair=pair)
    await desk.orders.create(admission(subject), wanted)
    return await stored(desk, wanted, subject)


async def test_a_request_id_of_two_callers_names_neither(desk: Desk) -> None:
    """Each caller chooses its own; an operator who settled the wrong one would tell a falsehood."""
    mine = await sold_and_forgotten(desk)
    theirs = await placed(desk, "agent-b", mine.request_id)
    for asked in (shown, settled):
        with pytest.raises(RequestInvalid) as refused:
            await asked(desk, str(mine.request_id))
        assert refused.value.code == "order_ambiguous"
        assert sorted(refused.value.detail["order_ids"]) == sorted((mine.order_id, theirs.order_id))
        assert all(one.order_id in refused.value.message for one in (mine, theirs))
    assert [await shown(desk, one.order_id) for one in (mine, theirs)] == [
        mine.order_id, theirs.order_id,
    ]  # fmt: skip
    assert await settled(desk, mine.order_id) == "rejected"


async def test_nobody_takes_the_name_of_anothers_order(desk: Desk) -> None:
    """An order id used as a request id: the id as it is written stays the order's own."""
    victim = await placed(desk, "agent-a", uuid4())
    await placed(desk, "agent-b", UUID(victim.order_id))
    assert await shown(desk, victim.order_id) == victim.order_id
    assert await shown(desk, victim.order_id.upper()) == victim.order_id
    assert await shown(desk, str(victim.request_id)) == victim.order_id
    with pytest.raises(RequestInvalid) as refused:
        await shown(desk, str(UUID(victim.order_id)))
    assert refused.value.code == "order_ambiguous"


async def test_one_order_is_found_by_each_form_of_its_ids(desk: Desk) -> None:
    """With hyphens or without."""
    mine = await placed(desk, "agent-a", uuid4())
    for named in (
        mine.order_id, str(UUID(mine.order_id)), str(mine.request_id), mine.request_id.hex,
    ):  # fmt: skip
        assert await shown(desk, named) == mine.order_id
    with pytest.raises(NotFound):
        await shown(desk, str(uuid4()))
