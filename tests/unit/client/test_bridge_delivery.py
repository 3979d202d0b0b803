"""The bridge before a gateway that goes away, answers badly, or loses its answers."""

from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest

from mcp_gateway.client import GatewayAuth
from mcp_gateway.client.bridge import Delivery, frames
from mcp_gateway.client.tokens import TokenUnavailable
from mcp_gateway.errors import GatewayError
from tests.support.clock import HastyClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

URL = "https://gateway.example/mcp"
KEY = "a-signing-key-of-the-tests-0123456789abcdef"
TOKEN = "canary-token-of-the-bridge"
Answer = httpx2.Response | Exception


def call(tool: str = "get_candles", **arguments: Any) -> frames.Frame:
    """Return a tool call."""
    params = {"name": tool, "arguments": arguments}
    told = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return frames.read(orjson.dumps(told))


ORDER = call("create_order", request_id="abc")


def result(**content: Any) -> httpx2.Response:
    """Return a tool's answer."""
    failed = "code" in content
    told = {"isError": failed, "structuredContent": content}
    return httpx2.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": told})


def lost() -> Exception:
    """Return the end of a connection whose request had been sent."""
    return httpx2.ReadError("canary of a library")


def away() -> Exception:
    """Return a connection that was never made."""
    return httpx2.ConnectError("canary of a library")


class Gateway:
    """Answers in the order that a test says; keeps what came."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.seen: list[tuple[bytes, httpx2.Headers]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not isinstance(answer, httpx2.ConnectError):
            self.seen.append((request.content, request.headers))
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """A delivery before such a gateway, in virtual time."""

    def __init__(self, *answers: Answer) -> None:
        self.gateway = Gateway(*answers)
        self.clock = HastyClock()
        self.told: list[str] = []
        self.lines: list[dict[str, Any]] = []
        self.delivery = Delivery(
            URL,
            GatewayAuth(TOKEN, key=KEY, key_id="desk", clock=self.clock),
            tell=self.told.append,
            clock=self.clock,
            transport=httpx2.MockTransport(self.gateway),
        )

    async def ask(self, frame: frames.Frame) -> str:
        """Return the code of what is told instead of an answer, nothing where one came."""
        try:
            await self.delivery.ask(frame, self._keep)
        except GatewayError as error:
            return "leaked" if "canary" in str(error.public()) else error.code
        return ""

    async def _keep(self, line: bytes) -> None:
        self.lines.append(orjson.loads(line))


async def test_a_call_goes_out_as_it_came_with_token_and_signature() -> None:
    """The very bytes: what was signed is what the app said."""
    bench = Bench(result(ok=True))
    assert await bench.ask(call()) == ""
    [(body, headers)] = bench.gateway.seen
    assert body == call().raw
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert {"signature", "signature-input", "content-digest"} <= set(headers)
    assert bench.lines[0]["result"]["structuredContent"] == {"ok": True}


async def test_a_call_waits_while_the_gateway_restarts() -> None:
    """Nothing was sent, so it may wait, ever longer."""
    bench = Bench(away(), away(), away(), result(ok=True))
    assert await bench.ask(ORDER) == ""
    assert bench.clock.slept == [0.25, 0.5, 1.0]
    assert len(bench.gateway.seen) == 1
    assert bench.told == []


async def test_while_the_gateway_is_away_calls_are_answered_at_once() -> None:
    """One waits ten seconds, the next ones not at all; the person hears of it once."""
    bench = Bench(away())
    assert await bench.ask(call()) == "gateway_unreachable"
    assert 10 <= bench.clock.monotonic() < 15
    before = len(bench.clock.slept)
    assert await bench.ask(ORDER) == "gateway_unreachable"
    assert len(bench.clock.slept) == before
    assert len(bench.told) == 1


async def test_its_return_is_noticed_by_the_next_call() -> None:
    """Without a timer that knocks at a dead door."""
    bench = Bench(*[away()] * 9, result(ok=True))
    assert await bench.ask(call()) == "gateway_unreachable"
    while await bench.ask(call()):
        pass
    assert len(bench.told) == 2
    assert "again" in bench.told[1]


async def test_a_lost_answer_is_asked_for_once_more_signed_anew() -> None:
    """The same bytes: the gateway knows an order again by its request_id."""
    bench = Bench(lost(), result(outcome="placed"))
    assert await bench.ask(ORDER) == ""
    first, second = bench.gateway.seen
    assert first[0] == second[0] == ORDER.raw
    assert first[1]["signature-input"] != second[1]["signature-input"]


@pytest.mark.parametrize(
    ("frame", "code"), [(ORDER, "outcome_unknown"), (call(), "answer_lost")], ids=["order", "read"]
)
async def test_an_answer_that_is_lost_twice_is_told(frame: frames.Frame, code: str) -> None:
    """Never sent a third time."""
    bench = Bench(lost())
    assert await bench.ask(frame) == code
    assert len(bench.gateway.seen) == 2


UNREPEATED = {
    "an order without its id": call("create_order"),
    "a tool that the bridge does not know": call("sell_everything"),
}


@pytest.mark.parametrize("what", UNREPEATED)
async def test_what_might_happen_twice_is_sent_once(what: str) -> None:
    """The doubt is told instead."""
    bench = Bench(lost(), result(outcome="placed"))
    assert await bench.ask(UNREPEATED[what]) in {"outcome_unknown", "answer_lost"}
    assert len(bench.gateway.seen) == 1


async def test_who_is_slow_is_not_asked_twice() -> None:
    """The first call is still at work."""
    bench = Bench(httpx2.ReadTimeout("slow"))
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert len(bench.gateway.seen) == 1


async def test_an_order_in_doubt_waits_for_the_gateway_and_stays_in_doubt() -> None:
    """What was sent once may have been carried out, even where it can't be sent again."""
    bench = Bench(lost(), away())
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert bench.clock.monotonic() >= 10


async def test_a_refused_repetition_is_no_word_about_the_order() -> None:
    """That nothing was done is true of the second sending alone."""
    bench = Bench(lost(), result(code="quota_exceeded"))
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert bench.lines == []
    bench = Bench(lost(), result(code="price_collar", outcome="denied"))
    assert await bench.ask(ORDER) == ""


async def test_without_a_token_for_the_repetition_an_order_stays_in_doubt() -> None:
    """That nothing was sent is true of the second time alone."""
    bench = Bench(lost(), TokenUnavailable("none"))
    assert await bench.ask(ORDER) == "outcome_unknown"
    bench = Bench(TokenUnavailable("none"))
    assert await bench.ask(ORDER) == "token_unavailable"


PAGES: dict[str, tuple[httpx2.Response, int, str]] = {
    "a proxy without a gateway": (httpx2.Response(502, text="<html>"), 2, "answer_lost"),
    "a proxy that gave up": (httpx2.Response(504), 2, "answer_lost"),
    "a proxy that failed": (httpx2.Response(500, text="<html>"), 2, "answer_lost"),
    "a page": (httpx2.Response(200, text="<html>hello"), 1, "no_gateway_there"),
    "another place": (httpx2.Response(307, headers={"location": URL}), 1, "no_gateway_there"),
    "a problem document": (httpx2.Response(404, json={"code": "x"}), 1, "no_gateway_there"),
    "nothing at all": (httpx2.Response(202), 1, "no_gateway_there"),
}


@pytest.mark.parametrize("what", PAGES)
async def test_what_is_no_answer_of_a_gateway_is_told_in_our_words(what: str) -> None:
    """A proxy's failure may hide a call that arrived; a page hides nothing."""
    answer, times, code = PAGES[what]
    bench = Bench(answer)
    assert await bench.ask(call()) == code
    assert len(bench.gateway.seen) == times
    assert bench.lines == []


async def test_a_page_in_place_of_an_order_s_answer_leaves_it_in_doubt() -> None:
    """Something stands between, and the order may have gone through it."""
    bench = Bench(httpx2.Response(200, text="<html>hello"))
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert len(bench.gateway.seen) == 2
    bench = Bench(httpx2.Response(404, text="<html>no such page"))
    assert await bench.ask(ORDER) == "no_gateway_there"


@pytest.mark.parametrize("status", [408, 499, 500, 501, 502, 503, 504, 520, 524, 599])
async def test_what_a_proxy_says_of_an_order_that_it_had_leaves_it_in_doubt(status: int) -> None:
    """It may have handed it on before it gave up: never called undone."""
    bench = Bench(httpx2.Response(status, text="<html>"))
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert len(bench.gateway.seen) == 2


OTHERS: dict[str, dict[str, Any]] = {
    "another call's result": {"jsonrpc": "2.0", "id": 99, "result": {}},
    "another call's error": {"jsonrpc": "2.0", "id": 99, "error": {"code": 1, "message": "No."}},
    "a result of nothing": {"jsonrpc": "2.0", "id": None, "result": {}},
    "a text for a number": {"jsonrpc": "2.0", "id": "1", "result": {}},
}


@pytest.mark.parametrize("what", OTHERS)
async def test_another_call_s_answer_is_none_of_this_one(what: str) -> None:
    """Neither as a document nor in a stream, where the right one may still come."""
    bench = Bench(httpx2.Response(200, json=OTHERS[what]))
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert bench.lines == []
    bench = Bench(stream(OTHERS[what], DONE))
    assert await bench.ask(ORDER) == ""
    assert bench.lines == [DONE]


async def test_a_document_that_answers_nothing_is_no_answer() -> None:
    """The app would wait for ever."""
    bench = Bench(httpx2.Response(200, json=PROGRESS))
    assert await bench.ask(ORDER) == "outcome_unknown"
    assert bench.lines == []


async def test_a_token_that_is_echoed_never_reaches_the_app() -> None:
    """A model reads the answer; a proxy's page of headers, say, would tell it the token."""
    echo = {"jsonrpc": "2.0", "id": 1, "result": {"text": f"authorization: Bearer {TOKEN}"}}
    for answer in (httpx2.Response(200, json=echo), stream(PROGRESS, echo)):
        bench = Bench(answer)
        assert await bench.ask(call()) == ""
        assert bench.lines[-1]["result"] == {"text": "authorization: Bearer [redacted]"}


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 503])
async def test_the_gateway_s_own_refusals_pass_whatever_their_status(status: int) -> None:
    """With the request's id, so that the app can tell what is refused."""
    error = {"code": -32000, "message": "No.", "data": {"code": "draining"}}
    answer = httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error})
    bench = Bench(answer)
    assert await bench.ask(call()) == ""
    assert bench.lines == [{"jsonrpc": "2.0", "id": 1, "error": error}]


def stream(*events: dict[str, Any]) -> httpx2.Response:
    """Return an answer in events."""
    body = b": ping\r\n\r\n" + b"".join(b"data: " + orjson.dumps(e) + b"\r\n\r\n" for e in events)
    return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})


PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
DONE = {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_a_stream_passes_message_by_message_up_to_the_answer() -> None:
    """Progress, questions, then the result; what would come behind it is nobody's."""
    bench = Bench(stream(PROGRESS, DONE, PROGRESS))
    assert await bench.ask(call()) == ""
    assert bench.lines == [PROGRESS, DONE]


async def test_a_stream_that_breaks_off_is_told_and_not_begun_anew() -> None:
    """Part of its answer has been told already."""
    bench = Bench(stream(PROGRESS))
    assert await bench.ask(call()) == "answer_lost"
    assert len(bench.gateway.seen) == 1
    bench = Bench(stream())
    assert await bench.ask(call()) == "answer_lost"
    assert len(bench.gateway.seen) == 2  # nothing had come


async def test_what_a_handshake_agrees_on_is_said_from_then_on() -> None:
    """Its version and, where a server keeps one, its session, which is ended in the end."""
    agreed = {"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-06-18"}}
    shaken = httpx2.Response(200, json=agreed, headers={"mcp-session-id": "s-1"})
    bench = Bench(shaken, result(ok=True))
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    await bench.ask(frames.read(orjson.dumps(hello)))
    await bench.ask(call())
    await bench.delivery.close()
    for _, headers in bench.gateway.seen[1:]:
        assert headers["mcp-session-id"] == "s-1"
    assert bench.gateway.seen[1][1]["mcp-protocol-version"] == "2025-06-18"
    assert len(bench.gateway.seen) == 3


async def test_an_answer_without_end_is_not_kept() -> None:
    """A gateway tells nothing of sixteen megabytes."""
    bench = Bench(httpx2.Response(200, content=b" " * (16 * 1024 * 1024 + 1)))
    assert await bench.ask(call()) == "no_gateway_there"


async def test_a_notice_that_is_lost_is_told_the_person() -> None:
    """It awaits no answer, so nobody else would hear of it."""
    notice = frames.read(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    bench = Bench(away())
    await bench.delivery.notify(notice)
    assert len(bench.told) == 1
    bench = Bench(httpx2.Response(202))
    await bench.delivery.notify(notice)
    assert bench.told == []


def test_secrets_are_in_no_representation() -> None:
    """Whatever ends up in a log."""
    bench = Bench(result(ok=True))
    shown: list[Callable[[], str]] = [
        lambda: repr(bench.delivery),
        lambda: str(vars(bench.delivery)),
    ]
    for told in shown:
        assert TOKEN not in told()
        assert KEY not in told()
