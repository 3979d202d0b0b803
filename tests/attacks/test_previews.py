"""Threat: an order gets through on a look that nobody took, or not at this order."""

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Admission, Principal, admission_by_the_gate
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.sending.seals import LASTS_S, Seals
from mcp_gateway.risk.facts import Previewed
from mcp_gateway.risk.policy import Limits, Policy
from tests.support.desk import Desk, open_desk, order
from tests.support.policy import POLICY
from tests.support.previews import known, placed, preview_id, refused_with
from tests.support.tradingbot import PRICE

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CAREFUL = Policy(defaults=Limits(preview_required=True), markets=POLICY.markets, written=True)
PRICE_FORGOTTEN_S = 3.0


@pytest.fixture
def rules() -> Policy:
    """A floor on which no entry passes without a preview."""
    return CAREFUL


async def untouched(desk: Desk, wanted: OrderRequest, subject: str = "agent-a") -> bool:
    """Tell whether nothing was sent and nothing was written."""
    return desk.bot.posts == [] and not await known(desk, wanted, subject)


@pytest.mark.parametrize(
    "bent",
    [{"amount": "9"}, {"pair": "ETH/USDT"}, {"order_type": "limit", "price": "104"}],
    ids=["amount", "pair", "type"],
)
async def test_a_preview_of_a_small_order_lets_no_other_through(
    desk: Desk, bent: dict[str, Any]
) -> None:
    """What was looked at is what is sent."""
    preview = await preview_id(desk, order(amount="0.1"))
    wanted = order(**({"amount": "0.1"} | bent))
    assert (await refused_with(desk, wanted, preview)).code == "preview_mismatch"
    assert await untouched(desk, wanted)


async def test_a_stolen_preview_is_of_no_use(desk: Desk) -> None:
    """It belongs to whom it was told; and its owner may still use it."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    stolen = order()
    assert (await refused_with(desk, stolen, preview, "thief")).code == "preview_mismatch"
    assert await untouched(desk, stolen, "thief")
    assert (await placed(desk, wanted, preview)).answer["outcome"] == "placed"


async def test_two_callers_for_one_agent_have_previews_of_their_own(desk: Desk) -> None:
    """The agent is the same; who looked is not."""

    def by(subject: str, operation: str) -> Admission:
        principal = Principal("tests", subject, frozenset(), act_for=frozenset({"agent-x"}))
        return admission_by_the_gate(principal, OPERATIONS[operation], "http", "call-1")

    wanted = order(agent="agent-x")
    told = await desk.orders.preview(by("one", "dry_run_order"), wanted)
    with pytest.raises(GatewayError) as refused:
        await desk.orders.create(by("two", "create_order"), wanted, told.preview_id)
    assert refused.value.code == "preview_mismatch"
    created = await desk.orders.create(by("one", "create_order"), wanted, told.preview_id)
    assert created.answer["agent"] == "agent-x"


async def test_the_same_name_of_another_issuer_is_another_caller(desk: Desk) -> None:
    """A subject means nothing without who vouches for it."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    stranger = Principal("elsewhere", "agent-a", frozenset())
    made = admission_by_the_gate(stranger, OPERATIONS["create_order"], "http", "call-1")
    with pytest.raises(GatewayError) as refused:
        await desk.orders.create(made, wanted, preview)
    assert refused.value.code == "preview_mismatch"


async def test_a_preview_that_is_a_minute_old_is_none(desk: Desk) -> None:
    """However little has happened since."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    desk.clock.advance(LASTS_S)
    assert (await refused_with(desk, wanted, preview)).code == "preview_expired"
    assert await untouched(desk, wanted)


async def test_a_refused_preview_costs_no_request_id(desk: Desk) -> None:
    """The same request goes through with a new look: nothing of it was written."""
    wanted = order()
    old = await preview_id(desk, wanted)
    desk.clock.advance(LASTS_S)
    await refused_with(desk, wanted, old)
    created = await placed(desk, wanted, await preview_id(desk, wanted))
    assert (created.replayed, created.answer["outcome"]) == (False, "placed")


async def test_a_preview_made_by_hand_is_none(desk: Desk) -> None:
    """Its form is no secret; its key is."""
    wanted = order()
    record = desk.orders._intake.record(_caller(), wanted)
    seen = Previewed(Decimal(100), CAREFUL.hash)
    for key in (b"", b"\0" * 32, b"mcp-gateway", CAREFUL.hash.encode()):
        forged = Seals(key, desk.clock).seal(record, seen).text
        assert (await refused_with(desk, wanted, forged)).code == "preview_invalid"
    assert await untouched(desk, wanted)


async def test_a_life_cannot_be_lengthened(desk: Desk) -> None:
    """The end is sealed with the rest, whichever of its bytes is turned."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    raw = base64.urlsafe_b64decode(preview + "=" * (-len(preview) % 4))
    desk.clock.advance(LASTS_S)
    for place in range(len(raw)):
        turned = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        text = base64.urlsafe_b64encode(turned).rstrip(b"=").decode()
        assert (await refused_with(desk, wanted, text)).code == "preview_invalid", place
    assert await untouched(desk, wanted)


async def test_many_looks_do_not_wait_for_a_better_price(desk: Desk) -> None:
    """Old looks stay held to their own price: none of them is an option on the market."""
    wanted = order(amount="0.1")
    cheap = await preview_id(desk, wanted)
    desk.bot.last_price = PRICE * 1.02
    desk.clock.advance(PRICE_FORGOTTEN_S)
    assert (await refused_with(desk, wanted, cheap)).code == "price_moved"
    assert desk.bot.posts == []


async def test_a_policy_that_was_tightened_holds_against_an_earlier_look(
    desk: Desk, tmp_path: Path
) -> None:
    """What a person has forbidden since is forbidden, whatever was seen."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    bot, clock = desk.bot, desk.clock
    await desk.store.close()
    tight = Policy(
        defaults=Limits(preview_required=True, pairs=frozenset()), markets=POLICY.markets,
        written=True,
    )  # fmt: skip
    async with open_desk(tmp_path, bot, clock, policy=tight) as later:
        error = await refused_with(later, wanted, preview)
    assert error.code == "pair_not_allowed"
    assert bot.posts == []


async def test_a_preview_of_a_dry_run_buys_nothing_with_real_money(
    desk: Desk, tmp_path: Path
) -> None:
    """The gateway was started anew in the other mode, with the same key."""
    wanted = order()
    preview = await preview_id(desk, wanted)
    bot, clock = desk.bot, desk.clock
    await desk.store.close()
    bot.dry_run = False
    async with open_desk(tmp_path, bot, clock, policy=CAREFUL, mode="live") as later:
        assert (await refused_with(later, wanted, preview)).code == "preview_mismatch"
    assert bot.posts == []


def _caller() -> Admission:
    caller = Principal("tests", "agent-a", frozenset())
    return admission_by_the_gate(caller, OPERATIONS["create_order"], "http", "call-1")
