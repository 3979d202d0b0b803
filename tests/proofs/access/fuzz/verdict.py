"""What every answer must be, whatever was asked: one that a machine can read, and no slip."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tests.proofs.access.fuzz.calls import Language

# What a caller must never read: a library's words, a path, an object's address.
SLIPS: Final = re.compile(
    rb"Traceback|pydantic|starlette|sqlalchemy|orjson|uvicorn|httpx|site-packages|File \\?\""
    rb"|ValidationError|JSONRPC(Request|Notif|Resp|Error)|\b[A-Z]\w+(Error|Exception)\b"
    rb"|<class|NoneType|0x[0-9a-f]{8}|Error executing|validation error",
)
REFUSAL: Final = frozenset({"code", "message", "retryable", "hint"})
PROBLEM: Final = frozenset({"type", "title", "status", "detail", "code", "retryable", "hint"})
NO_BODY: Final = 202
# A refusal of the bot's, which stands there and answers; documented for orders. And what may
# be told where it does not answer.
BOT_SAID_NO: Final = frozenset({502})
BOT_IS_DEAD: Final = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Answered:
    """One whole answer."""

    status: int
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    @property
    def media_type(self) -> bytes:
        """What the body says it is."""
        return self.headers.get(b"content-type", b"").partition(b";")[0]


def faults(
    language: Language,
    answer: Answered,
    *,
    must_refuse: bool,
    path: str,
    allowed: frozenset[int] = BOT_SAID_NO,
) -> list[str]:
    """Return what is wrong with an answer; nothing where all is well.

    Args:
        allowed: the 5xx that REST documents for such a bot.
    """
    found = []
    slip = SLIPS.search(answer.body)
    if slip and path != "/metrics":  # its names of metrics are Prometheus's own
        found.append(f"tells {slip[0]!r}")
    if answer.headers.get(b"content-length", b"") not in {b"", str(len(answer.body)).encode()}:
        found.append("another length than it says")
    is_mcp = language != "rest" and path == "/mcp"
    try:
        found += _mcp(answer, must_refuse) if is_mcp else _rest(answer, must_refuse, allowed)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        found.append(f"is no answer of {language} ({error!r})")
    return found


def _mcp(answer: Answered, must_refuse: bool) -> list[str]:
    if answer.status >= 500:
        return [f"status {answer.status}"]
    if answer.status == NO_BODY:
        return ["accepted what is no call"] if must_refuse else _when(answer.body, "has a body")
    return message(orjson.loads(answer.body), must_refuse=must_refuse)


def message(told: dict[str, Any], *, must_refuse: bool) -> list[str]:
    """Return what is wrong with a JSON-RPC answer."""
    found = _when(told["jsonrpc"] != "2.0" or "id" not in told, "is no JSON-RPC")
    if "error" in told:
        error = told["error"]
        found += _when(not isinstance(error["code"], int), "an error without a number")
        found += _when(not error["data"].keys() >= REFUSAL, "an error without a code and a hint")
        return found + _when(error["data"].get("code") == "internal_error", "internal_error")
    result = told["result"]
    found += _when(told["id"] is None, "answers nobody")
    if not result.get("isError"):
        return found + _when(must_refuse, "did what it had to refuse")
    refusal = result["structuredContent"]
    found += _when(not refusal.keys() >= REFUSAL, "a refusal without a code and a hint")
    found += _when(orjson.loads(result["content"][0]["text"]) != refusal, "says two things")
    return found + _when(refusal["code"] == "internal_error", "internal_error")


def _rest(answer: Answered, must_refuse: bool, allowed: frozenset[int]) -> list[str]:
    if answer.status >= 500 and answer.status not in allowed:
        return [f"status {answer.status}: {answer.body[:200]!r}"]
    if answer.status < 400:
        found = _when(must_refuse, "did what it had to refuse")
        if answer.media_type == b"application/json":
            orjson.loads(answer.body)
        return found
    told = orjson.loads(answer.body)
    if answer.media_type == b"application/json" and "jsonrpc" in told:  # a path bent into /mcp
        return message(told, must_refuse=must_refuse)
    found = _when(answer.media_type != b"application/problem+json", "is no problem document")
    found += _when(not told.keys() >= PROBLEM, "a problem without a code and a hint")
    return found + _when(told["status"] != answer.status, "says another status")


def _when(is_so: object, told: str) -> list[str]:
    return [told] if is_so else []
