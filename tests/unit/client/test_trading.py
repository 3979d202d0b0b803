"""The typed client: before the real door, and before a gateway that fails in every way."""

from collections.abc import AsyncIterator
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest
from pydantic import ValidationError

from mcp_gateway import errors
from mcp_gateway.client import (
    Denied,
    GatewayAuth,
    GatewayClient,
    GatewayRefused,
    GatewayUnreachable,
    NeedsReview,
    Order,
    Outcome,
    PendingApproval,
    Placed,
    Rejected,
    RenewingAuth,
    TokenUnavailable,
    Unknown,
)
from mcp_gateway.client.bodies import LARGEST_ANSWER_BYTES
from mcp_gateway.client.tokens import TokenEndpointAway
from mcp_gateway.domain.orders import OrderRequest
from tests.support.clock import HastyClock
from tests.support.gateway import BASE_URL, TRADER, Face, receipt, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

Answer = httpx2.Response | Exception
ORDER = Order("BTC/USDT", "buy", Decimal("0.001"), agent=TRADER)


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(settings_for(tmp_path))


def client_of(face: Face, *scopes: str) -> GatewayClient:
    """Return a client before a face in this process."""
    transport = httpx2.ASGITransport(app=face.door)
    auth = face.auth(*scopes, signed=True)
    return GatewayClient(BASE_URL, auth, clock=HastyClock(), transport=transport)


async def test_candles_come_as_exact_numbers_and_aware_moments(face: Face) -> None:
    """Money is Decimal; what the bot does not know is None."""
    async with client_of(face) as gw:
        told = await gw.get_candles("BTC/USDT", "15m", limit=2)
    assert told.candles[0].close == Decimal("50500.0")
    assert told.candles[0].opened_at.tzinfo is not None
    assert told.candles[1].volume is None
    assert (told.stale, told.resampled_from) == (False, "5m")
    assert face.gateway.market.asked[0] == ("get_candles", "BTC/USDT", "15m", 2, None, True)


async def test_positions_and_the_account_are_typed(face: Face) -> None:
    """So that a program need not guess at documents."""
    async with client_of(face) as gw:
        held = await gw.positions("BTC/USDT")
        account = await gw.account()
    assert held.positions[0].amount == Decimal("0.01")
    assert account.balance is not None
    assert (account.balance.free, account.mode) == (Decimal("900.5"), "dry-run")
    assert account.limits.rules[0].left == "7"
    assert account.halts[0].name == "ETH/USDT"


async def test_an_order_goes_from_dry_run_to_cancel(face: Face) -> None:
    """Signed, under one id; the second sending is answered from the record."""
    async with client_of(face) as gw:
        seen = await gw.dry_run(ORDER)
        placed = await gw.create_order(ORDER)
        again = await gw.create_order(ORDER)
        state = await gw.get_order(ORDER.request_id)
        gone = await gw.cancel_order(ORDER.request_id)
    assert (seen.valid, seen.estimated_cost) == (True, Decimal("50.5"))
    assert isinstance(placed, Placed)
    assert isinstance(again, Placed)
    assert (placed.replayed, again.replayed) == (False, True)
    assert (placed.request_id, placed.resting, state.final) == (ORDER.request_id, True, True)
    assert gone.status == "cancelled"
    assert {one.request_id for one in face.gateway.order_service.seen} == {ORDER.request_id}


async def test_a_preview_is_sent_with_the_order(face: Face) -> None:
    """To be held to what was seen."""
    async with client_of(face) as gw:
        await gw.create_order(ORDER, preview_id="p-1")
    assert face.gateway.order_service.previews == ["p-1"]


async def test_a_refusal_is_an_exception_with_code_and_hint(face: Face) -> None:
    """It was no order yet: nothing was done."""
    async with client_of(face, "market:read") as gw:
        with pytest.raises(GatewayRefused) as failed:
            await gw.create_order(ORDER)
    assert failed.value.code == "scope_missing"
    assert failed.value.hint
    assert failed.value.answer["retryable"] is False
    assert face.gateway.order_service.seen == []


async def test_an_unknown_order_and_one_that_does_not_rest_are_refused(face: Face) -> None:
    """With the gateway's own codes."""
    async with client_of(face) as gw:
        with pytest.raises(GatewayRefused) as failed:
            await gw.get_order(uuid4())
        assert failed.value.code == "order_unknown"
        face.gateway.order_service.trouble = errors.OrderNotResting("Ended.")
        with pytest.raises(GatewayRefused) as failed:
            await gw.cancel_order(ORDER.request_id)
    assert failed.value.code == "order_not_resting"


OUTCOMES: dict[str, tuple[errors.GatewayError, type[Outcome]]] = {
    "denied": (
        errors.OrderDenied("No.", code="price_collar", detail={"outcome": "denied", "limit": "5"}),
        Denied,
    ),
    "rejected": (
        errors.BotRejected("No.", code="no_free_slot", detail={"outcome": "rejected"}),
        Rejected,
    ),
    "unknown": (errors.OutcomeUnknown("?", detail={"outcome": "unknown"}), Unknown),
    "under review": (
        errors.OutcomeUnknown("?", code="trade_gone", detail={"outcome": "unknown"}),
        NeedsReview,
    ),
    "a number for a limit": (
        errors.OrderDenied("No.", code="x", detail={"outcome": "denied", "limit": 10}),
        Denied,
    ),
}


@pytest.mark.parametrize("what", OUTCOMES)
async def test_what_became_of_an_order_is_a_type_with_its_next_step(face: Face, what: str) -> None:
    """To match on; the code and the hint are the gateway's."""
    trouble, kind = OUTCOMES[what]
    face.gateway.order_service.trouble = trouble
    async with client_of(face) as gw:
        outcome = await gw.create_order(ORDER)
    assert type(outcome) is kind
    assert outcome.request_id == ORDER.request_id
    assert outcome.next_step == trouble.hint
    assert getattr(outcome, "code", "") == trouble.code


async def test_an_order_that_waits_for_a_person_is_no_placed_one(face: Face) -> None:
    """202: nothing was sent to the bot."""
    waiting = receipt(OrderRequest.model_validate(ORDER.document())) | {
        "outcome": "pending_approval", "status": "pending_approval", "trade_id": None,
        "expires_at": "2025-11-18T10:15:00Z", "question": "May it?", "hint": "Ask.",
    }  # fmt: skip
    face.gateway.order_service.receipts[ORDER.request_id] = waiting
    async with client_of(face) as gw:
        outcome = await gw.create_order(ORDER)
    assert isinstance(outcome, PendingApproval)
    assert outcome.question == "May it?"
    assert "get_order" in outcome.next_step


class Gateway:
    """Answers in the order that a test says; keeps what came."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.seen: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def problem(status: int, code: str, **facts: Any) -> httpx2.Response:
    """Return a problem document."""
    told = {"code": code, "detail": "No.", "hint": "Wait.", "retryable": status in {429, 503}}
    told["type"] = f"urn:mcp-gateway:problem:{code}"
    headers = {"content-type": "application/problem+json"}
    return httpx2.Response(status, json=told | facts, headers=headers)


def placed(order: Order = ORDER) -> httpx2.Response:
    """Return the receipt of an order."""
    told = receipt(OrderRequest.model_validate(order.document()))
    return httpx2.Response(200, json=told)


class Bench:
    """A client before such a gateway, in virtual time."""

    def __init__(self, *answers: Answer) -> None:
        self.gateway = Gateway(*answers)
        self.clock = HastyClock()
        auth = GatewayAuth("token", key="k" * 32, key_id="a", clock=self.clock)
        transport = httpx2.MockTransport(self.gateway)
        self.client = GatewayClient(BASE_URL, auth, clock=self.clock, transport=transport)

    async def create(self, order: Order = ORDER) -> Outcome:
        """Place an order, and hold every sending of it to the same bytes under a new signature."""
        outcome = await self.client.create_order(order)
        assert {one.content for one in self.gateway.seen} == {orjson.dumps(order.document())}
        signatures = {one.headers["signature"] for one in self.gateway.seen}
        assert len(signatures) == len(self.gateway.seen)
        return outcome


MENDED: dict[str, list[Answer]] = {
    "a lost answer": [httpx2.ReadError("lost")],
    "nobody there": [httpx2.ConnectError("away"), httpx2.ConnectTimeout("away")],
    "a restart": [problem(503, "draining")],
    "an order cut off": [problem(503, "cut_off")],
    "a store that is away": [problem(503, "store_unavailable")],
    "a spent quota": [problem(429, "quota_exceeded", retry_after_s=7)],
    "a proxy": [httpx2.Response(502, text="<html>"), httpx2.Response(200, text="hm")],
    "a fault of the gateway's": [problem(500, "internal_error")],
    "an earlier sending at work": [problem(504, "order_in_progress", outcome="unknown")],
}


@pytest.mark.parametrize("what", MENDED)
async def test_an_order_is_sent_again_under_the_same_id_until_it_is_answered(what: str) -> None:
    """The gateway knows it again, so whatever stood between is no second trade."""
    bench = Bench(*MENDED[what], placed())
    assert isinstance(await bench.create(), Placed)
    assert len(bench.gateway.seen) == len(MENDED[what]) + 1


async def test_the_gateway_s_own_waiting_time_is_kept() -> None:
    """Asking sooner would only be refused again."""
    bench = Bench(problem(429, "quota_exceeded", retry_after_s=7), placed())
    await bench.create()
    assert bench.clock.slept == [7.0]


UNDECIDED: dict[str, Answer] = {
    "answers that are lost": httpx2.ReadError("lost"),
    "a proxy that gives up": httpx2.Response(504),
    "a gateway that fails": problem(500, "internal_error"),
    "orders cut off": problem(503, "cut_off"),
    "a page in its place": httpx2.Response(200, text="<html>hello"),
    "nothing in its place": httpx2.Response(204),
    "a proxy that gives up in JSON": httpx2.Response(504, json={"code": 14, "detail": "timeout"}),
    "a proxy that fails in JSON": httpx2.Response(500, json={"code": "INTERNAL"}),
    "another service's problem": problem(500, "oops", type="about:blank"),
    "a proxy that would not wait": httpx2.Response(408, text="<html>"),
    "a proxy whose caller left": httpx2.Response(499),
}


@pytest.mark.parametrize("what", UNDECIDED)
async def test_after_the_deadline_an_order_that_may_have_arrived_is_unknown(what: str) -> None:
    """Never called undone: it tells the id and how to ask."""
    bench = Bench(UNDECIDED[what])
    outcome = await bench.create()
    assert type(outcome) is Unknown
    assert (outcome.code, outcome.request_id) == ("outcome_unknown", ORDER.request_id)
    assert "get_order" in outcome.next_step
    assert bench.clock.monotonic() <= 120


async def test_after_one_lost_answer_a_refusal_is_no_word_about_the_order() -> None:
    """The first sending may have been carried out."""
    bench = Bench(httpx2.ReadError("lost"), problem(401, "token_expired"))
    assert type(await bench.create()) is Unknown
    bench = Bench(httpx2.ReadError("lost"), httpx2.ConnectError("away"))
    assert type(await bench.create()) is Unknown
    bench = Bench(httpx2.ReadError("lost"), httpx2.Response(404, text="<html>"))
    assert type(await bench.create()) is Unknown
    bench = Bench(httpx2.ReadError("lost"), TokenUnavailable("none"))
    assert type(await bench.create()) is Unknown


FOREIGN_ANSWERS: dict[str, httpx2.Response] = {
    "a receipt under another id": placed(Order("BTC/USDT", "buy", Decimal("0.001"), agent=TRADER)),
    "a receipt of another pair": placed(replace(ORDER, pair="ETH/USDT")),
    "a receipt of the other side": placed(replace(ORDER, side="sell")),
    "a receipt without an id": httpx2.Response(
        200, json={k: v for k, v in orjson.loads(placed().content).items() if k != "request_id"}
    ),
    "a denial under another id": problem(
        422, "price_collar", outcome="denied", request_id=str(UUID(int=1))
    ),
    "an answer without end": httpx2.Response(
        200, content=placed().content + b" " * LARGEST_ANSWER_BYTES
    ),
}


@pytest.mark.parametrize("what", FOREIGN_ANSWERS)
async def test_an_answer_about_another_order_tells_nothing_of_this_one(what: str) -> None:
    """A cache or a proxy may mix answers up; the order itself may have been placed."""
    outcome = await Bench(FOREIGN_ANSWERS[what]).create()
    assert type(outcome) is Unknown
    assert outcome.request_id == ORDER.request_id


@pytest.mark.parametrize("request_id", [None, str(ORDER.request_id)], ids=["unnamed", "named"])
async def test_a_denial_need_not_say_of_which_order(request_id: str | None) -> None:
    """It answers the call it came to, unless it says otherwise."""
    facts = {} if request_id is None else {"request_id": request_id}
    outcome = await Bench(problem(422, "price_collar", outcome="denied", **facts)).create()
    assert type(outcome) is Denied


async def test_an_endless_answer_is_read_no_further_than_its_bound() -> None:
    """What answers at an address may not fill the memory of an agent."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 3 * LARGEST_ANSWER_BYTES:  # without end, as far as a client can know
            read += 1024 * 1024
            yield b" " * 1024 * 1024

    bench = Bench(httpx2.Response(200, content=endless()))
    with pytest.raises(GatewayRefused) as failed:
        await bench.client.account()
    assert failed.value.code == "no_gateway_there"
    assert read <= LARGEST_ANSWER_BYTES + 2 * 1024 * 1024


NOTHING_SENT: dict[str, tuple[Answer, type[errors.GatewayError], str]] = {
    "nobody there": (httpx2.ConnectError("away"), GatewayUnreachable, "gateway_unreachable"),
    "a gateway that starts": (problem(503, "draining"), GatewayRefused, "draining"),
    "a long quota": (
        problem(429, "quota_exceeded", retry_after_s=500),
        GatewayRefused,
        "quota_exceeded",
    ),
}


@pytest.mark.parametrize("what", NOTHING_SENT)
async def test_an_order_that_never_arrived_is_an_exception(what: str) -> None:
    """Nothing happened, and that is known."""
    answer, kind, code = NOTHING_SENT[what]
    bench = Bench(answer)
    with pytest.raises(kind) as failed:
        await bench.create()
    assert failed.value.code == code
    assert bench.clock.monotonic() <= 120
    if what == "a long quota":
        assert failed.value.retry_after_s == 500
        assert bench.clock.slept == []  # it would be over before


async def test_a_request_that_can_t_be_written_was_never_sent() -> None:
    """It is refused at once: the next sending would say the same."""
    bench = Bench(httpx2.LocalProtocolError("Illegal header value"))
    with pytest.raises(GatewayRefused) as failed:
        await bench.create()
    assert failed.value.code == "request_not_sendable"
    assert (len(bench.gateway.seen), bench.clock.slept) == (1, [])
    bench = Bench(httpx2.ReadError("lost"), httpx2.LocalProtocolError("Illegal header value"))
    assert type(await bench.create()) is Unknown


class TokenEndpoint:
    """A source whose endpoint is away for as often as a test says."""

    def __init__(self, *answers: Exception | str) -> None:
        self._answers = list(answers)

    async def current(self) -> str:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def after_refusal(self, _refused: str) -> str:
        return await self.current()


def bench_of(source: TokenEndpoint, *answers: Answer) -> Bench:
    """Return a bench whose client has its token from a source."""
    bench = Bench(*answers)
    auth = RenewingAuth(source, key="k" * 32, key_id="a", clock=bench.clock)
    transport = httpx2.MockTransport(bench.gateway)
    bench.client = GatewayClient(BASE_URL, auth, clock=bench.clock, transport=transport)
    return bench


AWAY = TokenEndpointAway("The token endpoint does not answer.")


async def test_a_token_endpoint_that_is_away_is_waited_for() -> None:
    """As the gateway itself is: nothing was sent yet."""
    bench = bench_of(TokenEndpoint(AWAY, AWAY, "token"), placed())
    assert isinstance(await bench.create(), Placed)
    assert len(bench.gateway.seen) == 1
    bench = bench_of(TokenEndpoint("old", AWAY, "new"), problem(401, "token_expired"), placed())
    assert isinstance(await bench.create(), Placed)


async def test_a_token_endpoint_that_stays_away_leaves_an_order_undone() -> None:
    """Never unknown, and the endpoint is named; unless an earlier sending was lost."""
    bench = bench_of(TokenEndpoint(AWAY), placed())
    with pytest.raises(GatewayUnreachable, match="token endpoint"):
        await bench.client.create_order(ORDER)
    assert 100 < bench.clock.monotonic() <= 120
    assert bench.gateway.seen == []
    with pytest.raises(GatewayUnreachable, match="token endpoint"):
        await bench.client.account()
    bench = bench_of(TokenEndpoint("token", AWAY), httpx2.ReadError("lost"))
    assert type(await bench.create()) is Unknown


async def test_a_token_endpoint_that_says_no_is_believed_at_once() -> None:
    """A wrong secret gets no better by waiting."""
    bench = bench_of(TokenEndpoint(TokenUnavailable("The token endpoint refused.")), placed())
    with pytest.raises(TokenUnavailable):
        await bench.client.create_order(ORDER)
    assert bench.clock.slept == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(307),
        httpx2.Response(404, text="no"),
        httpx2.Response(413, text="<html>"),
        httpx2.Response(403, json={"code": "denied", "detail": "No.", "outcome": "denied"}),
    ],
    ids=["another place", "nothing", "too much", "a firewall's JSON"],
)
async def test_what_is_no_gateway_is_told(answer: httpx2.Response) -> None:
    """The address is wrong; no order is placed there."""
    with pytest.raises(GatewayRefused) as failed:
        await Bench(answer).create()
    assert failed.value.code == "no_gateway_there"


async def test_an_answer_of_another_shape_is_refused_for_reads_and_unknown_for_orders() -> None:
    """A receipt that can't be read may still be one."""
    bench = Bench(httpx2.Response(200, json={"odd": 1}))
    with pytest.raises(GatewayRefused) as failed:
        await bench.client.account()
    assert failed.value.code == "answer_unreadable"
    assert type(await Bench(httpx2.Response(200, json={"odd": 1})).create()) is Unknown


async def test_reads_are_repeated_within_their_deadline() -> None:
    """And then raise what the gateway said last."""
    bench = Bench(problem(503, "bot_unavailable"))
    with pytest.raises(GatewayRefused) as failed:
        await bench.client.positions()
    assert failed.value.code == "bot_unavailable"
    assert 20 < bench.clock.monotonic() <= 30


async def test_waiting_ends_with_a_final_outcome_or_the_deadline() -> None:
    """An order that waits for a person may wait longer than the program."""
    told = orjson.loads(placed().content) | {
        "order_type": "market", "price": None, "code": None, "history": [],
    }  # fmt: skip
    open_, final = (httpx2.Response(200, json=told | {"final": one}) for one in (False, True))
    bench = Bench(open_, open_, final)
    state = await bench.client.wait_until_final(ORDER.request_id, deadline_s=60)
    assert state.final
    assert len(bench.gateway.seen) == 3
    bench = Bench(open_)
    assert not (await bench.client.wait_until_final(ORDER.request_id, deadline_s=10)).final
    assert bench.clock.monotonic() <= 10


def test_an_order_keeps_its_id_and_its_exact_numbers() -> None:
    """The same value is the same order; its numbers travel as text."""
    order = Order("ETH/USDT", "buy", "0.10", price=2500)  # type: ignore[arg-type]  # texts are read too
    assert (order.amount, order.price) == (Decimal("0.10"), Decimal(2500))
    told = order.document()
    assert (told["amount"], told["price"], told["order_type"]) == ("0.10", "2500", "limit")
    assert UUID(told["request_id"]) == order.request_id
    assert Order("ETH/USDT", "buy", Decimal(1)) != Order("ETH/USDT", "buy", Decimal(1))
    assert Order("A/B", "buy", Decimal("1E-7")).document()["amount"] == "0.0000001"
    with pytest.raises(FrozenInstanceError):
        order.amount = Decimal(1)  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize("amount", [0.1, True, None, "x", "NaN", "Infinity", "0", "-1", b"1"])
def test_an_order_of_no_exact_amount_is_none(amount: Any) -> None:
    """A float has lost its digits before anybody could see them."""
    with pytest.raises((TypeError, ValueError)):
        Order("BTC/USDT", "buy", amount)


async def test_what_is_told_can_t_be_changed(face: Face) -> None:
    """Frozen, so that it can be kept and compared."""
    async with client_of(face) as gw:
        told = await gw.account()
    with pytest.raises(ValidationError):
        told.mode = "live"  # type: ignore[misc]  # that is the test
    assert "token" not in repr(gw)


def test_no_client_is_made_for_an_open_wire() -> None:
    """A token goes over https, or stays on the machine."""
    with pytest.raises(ValueError, match="https"):
        GatewayClient("http://gateway.example", GatewayAuth("token"))
