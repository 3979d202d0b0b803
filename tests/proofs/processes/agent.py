"""An agent over real HTTP that never gives up on an order, nor sends it under another id."""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import anyio
import httpx2

from tests.support.processes import token
from tests.support.wires import signing

FINAL: Final = {"placed", "denied", "rejected"}
PATIENCE_S: Final = 60.0
PAUSE_S: Final = 0.1
CALL_S: Final = 20.0


@dataclass
class Told:
    """An order's request id, and every answer with an outcome that came."""

    request_id: str
    side: str
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def finals(self) -> set[str]:
        """The final outcomes that were told; more than one contradict each other."""
        return {answer["outcome"] for answer in self.answers} & FINAL


@dataclass
class Agent:
    """Repeats what it asked until the answer is final; ``url`` moves when the gateway does."""

    url: str = ""
    orders: list[Told] = field(default_factory=list)
    _auth: httpx2.Auth = field(default_factory=lambda: signing(token()))

    async def settle(self, pair: str, side: str, amount: str, *, twice: bool = True) -> Told:
        """Send one order under one request id until its outcome is final.

        Args:
            twice: asks once more then, for the answer must stay what it was.
        """
        told = Told(str(uuid4()), side)
        self.orders.append(told)
        order = {
            "request_id": told.request_id, "pair": pair, "side": side, "amount": amount,
            "order_type": "market",
        }  # fmt: skip
        async with httpx2.AsyncClient(auth=self._auth, trust_env=False, timeout=CALL_S) as http:
            with anyio.move_on_after(PATIENCE_S):
                while not told.finals:
                    await self._send(http, order, told)
                if twice:
                    await self._send(http, order, told)
        return told

    async def _send(self, http: httpx2.AsyncClient, order: dict[str, Any], told: Told) -> None:
        try:
            answer = await http.post(f"{self.url}/api/v1/orders", json=order)
        except httpx2.TransportError:
            await anyio.sleep(PAUSE_S)  # the gateway is away
            return
        document = answer.json()
        if "outcome" in document:
            told.answers.append(document)
        if document.get("outcome") not in FINAL:
            await anyio.sleep(PAUSE_S)
