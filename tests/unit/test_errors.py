"""The tree of refusals: each with a stable code, a status and the next safe step."""

import re

import pytest

from mcp_gateway import errors
from mcp_gateway.errors import (
    ConfigurationError,
    Draining,
    GatewayError,
    QuotaExceeded,
    failures_in,
)

pytestmark = pytest.mark.unit
CLASSES = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, GatewayError) and one is not ConfigurationError
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_refusal_tells_code_message_retryable_and_hint(kind: type[GatewayError]) -> None:
    """The object that every face shows; nothing beside it unless there is something to say."""
    told = kind("A sentence.").public()
    assert told == {
        "code": kind.default_code, "message": "A sentence.", "retryable": kind.retryable,
        "hint": kind.default_hint,
    }  # fmt: skip
    assert re.fullmatch(r"[a-z][a-z_]+", kind.default_code)
    assert kind.default_hint.endswith(".")
    assert 400 <= kind.status <= 599


def test_statuses_are_those_of_the_contract() -> None:
    """Denied is ours (4xx), rejected is the bot's (502), unknown is neither (504)."""
    statuses = {one.default_code: one.status for one in CLASSES}
    assert statuses["token_missing"] == 401
    assert statuses["scope_missing"] == 403
    assert statuses["order_denied"] == statuses["request_invalid"] == 422
    assert statuses["idempotency_conflict"] == 409
    assert statuses["quota_exceeded"] == 429
    assert statuses["bot_rejected"] == 502
    assert statuses["bot_unavailable"] == statuses["store_unavailable"] == 503
    assert statuses["outcome_unknown"] == 504


def test_an_unknown_outcome_never_invites_a_second_order() -> None:
    """What may be repeated under the same id says so; an order of unknown fate is not among it."""
    retryable = {one.default_code for one in CLASSES if one.retryable}
    unavailable = {"bot_unavailable", "store_unavailable", "issuer_unavailable"}
    assert retryable == unavailable | {"quota_exceeded", "draining"}


def test_what_an_instance_adds_is_told_beside_it() -> None:
    """Its own code and hint, when to come again, and further facts."""
    told = QuotaExceeded(
        "No.", code="orders_per_minute", hint="Wait.", retry_after_s=0.0, detail={"limit": 5}
    ).public()
    assert told == {
        "code": "orders_per_minute", "message": "No.", "retryable": True, "hint": "Wait.",
        "retry_after_s": 0.0, "limit": 5,
    }  # fmt: skip


def test_a_refusal_keeps_its_facts_to_itself() -> None:
    """The mapping handed in may change afterwards; what is told does not."""
    facts = {"limit": 5}
    error = QuotaExceeded("No.", detail=facts)
    facts["limit"] = 6
    error.public()["limit"] = 7
    assert error.public()["limit"] == 5


def test_faults_of_the_configuration_come_together() -> None:
    """One line each, in the message and as a list."""
    error = ConfigurationError(["A: one", "B: two"])
    assert error.message == "A: one\nB: two"
    assert error.public()["faults"] == ["A: one", "B: two"]


def test_failures_are_found_in_their_groups() -> None:
    """However deep task groups have wrapped them, in their order."""
    one, two, three = KeyError("1"), Draining("2"), ValueError("3")
    wrapped = ExceptionGroup("all", [ExceptionGroup("some", [one, two]), three])
    assert list(failures_in(wrapped)) == [one, two, three]
    assert list(failures_in(two)) == [two]
