"""How agents speak to the gateway: signed REST or signed MCP, told in one form."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx2

from mcp_gateway.client import GatewayAuth, GatewayRefused, GatewayUnreachable, open_session
from tests.proofs.campaign.stage import Stage

ANSWER_TIMEOUT_S = 60.0
Verb = Literal["create", "get", "cancel"]
OUTCOMES = ("placed", "denied", "rejected", "unknown")


class NoAnswer(Exception):
    """Nothing came back: the gateway is away, or went away midway."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway said of one order.

    ``outcome`` is None where it said nothing of the order (busy, starting, refused at the
    gate); ``final`` is its promise that the outcome stands for good.
    """

    outcome: str | None
    code: str | None
    final: bool
    document: dict[str, Any]


class Caller(Protocol):
    """One agent's line to the gateway."""

    async def call(self, verb: Verb, order: dict[str, Any]) -> Told:
        """Create, ask for or cancel the order with this request_id.

        Raises:
            NoAnswer: the answer never came.
        """


@dataclass(frozen=True, slots=True)
class OverRest:
    """REST with the bearer token and RFC 9421 signatures, a connection for each call."""

    stage: Stage
    auth: GatewayAuth

    async def call(self, verb: Verb, order: dict[str, Any]) -> Told:
        url = f"{self.stage.url}/api/v1/orders"
        try:
            async with httpx2.AsyncClient(
                auth=self.auth, trust_env=False, timeout=ANSWER_TIMEOUT_S
            ) as http:
                if verb == "create":
                    answer = await http.post(url, json=order)
                else:
                    method = "GET" if verb == "get" else "DELETE"
                    answer = await http.request(method, f"{url}/{order['request_id']}")
        except httpx2.TransportError as error:
            raise NoAnswer(type(error).__name__) from error
        document = answer.json()
        return told(verb, document, succeeded=answer.is_success)


@dataclass(frozen=True, slots=True)
class OverMcp:
    """The MCP SDK's own client, a session for each call: the gateway may be a new one."""

    stage: Stage
    auth: GatewayAuth

    async def call(self, verb: Verb, order: dict[str, Any]) -> Told:
        given = order if verb == "create" else {"request_id": order["request_id"]}
        try:
            async with open_session(f"{self.stage.url}/mcp", self.auth) as session:
                result = await session.call_tool(f"{verb}_order", given)
        except GatewayUnreachable as error:
            raise NoAnswer(error.code) from error
        except GatewayRefused as error:
            return told(verb, error.answer, succeeded=False)
        return told(verb, result.structured_content or {}, succeeded=not result.is_error)


def told(verb: Verb, document: dict[str, Any], *, succeeded: bool) -> Told:
    """Read an answer of either language."""
    outcome = document.get("outcome")
    if outcome not in OUTCOMES:
        # Without the word, only this code speaks of the order itself.
        outcome = "unknown" if document.get("code") == "outcome_unknown" else None
    final = outcome in {"placed", "denied", "rejected"}
    if verb != "create" and succeeded:
        final = bool(document.get("final"))
    return Told(outcome, document.get("code"), final, document)
