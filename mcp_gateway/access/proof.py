"""Whose signature a call carries: the caller's own key, and bytes that were never used before."""

import hashlib
import secrets
from contextlib import suppress
from typing import Final, Literal

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.clock import Clock, iso
from mcp_gateway.domain.principals import Credentials, PlainSigned, Principal, Signed, Unsigned
from mcp_gateway.errors import NotPermitted, StoreUnavailable
from mcp_gateway.storage.kv import KeyValue

# A signature may be dated one window ahead, so it fits for two; the margin covers replicas
# whose clocks differ by seconds.
NONCE_MARGIN_S: Final = 5
LONGEST_WAIT_S: Final = 1.0
SignatureFault = Literal[
    "signature_missing", "signature_invalid", "signature_expired", "signature_replayed"
]
_FAULTS: Final[dict[SignatureFault, tuple[str, str]]] = {
    "signature_missing": (
        "This call must be signed.",
        "Sign the request by RFC 9421 (label gw, tag mcp-gateway) with the key of your subject.",
    ),
    "signature_invalid": (
        "The signature does not fit the request, or its key is not a live one of the caller's.",
        "Sign the exact bytes, method, host and path that you send, with a live key of yours.",
    ),
    "signature_expired": (
        "The signature's time is too far from the server's, or lies before its last restart.",
        "Set your clock by server_time, sign anew and send at once.",
    ),
    "signature_replayed": (
        "This signature was used before.",
        "Sign every request anew; for the same order keep its request_id.",
    ),
}


class Proof:
    """Asks for the signature of a call that must be signed, and spends its nonce.

    Args:
        nonces: remembers used nonces; shared by every process.
        window_s: how far a signature's time may be off; nonces are kept for twice as long.
        plain: whether REST may use the predecessor's form, which can be replayed.
    """

    def __init__(
        self, keyring: Keyring, nonces: KeyValue, clock: Clock, *, window_s: int, plain: bool
    ) -> None:
        self._keyring = keyring
        self._nonces = nonces
        self._clock = clock
        self._ttl_s = 2 * window_s + NONCE_MARGIN_S
        self._plain = plain

    async def key_id(self, principal: Principal, credentials: Credentials) -> str:
        """Return the id of the caller's own key that signed this call, for the first time.

        Raises:
            NotPermitted: signature_missing, _invalid, _expired or _replayed.
            StoreUnavailable: whether the nonce is new cannot be checked.
        """
        evidence = credentials.evidence
        if isinstance(evidence, Unsigned):
            raise self._fault(evidence.code)
        if isinstance(evidence, PlainSigned) and not (
            self._plain and credentials.channel == "rest"
        ):
            raise self._fault("signature_missing")
        key = self._keyring.serving(evidence.key_id, self._clock.now())
        if key is None or key.owner != (principal.issuer, principal.subject):
            raise self._fault("signature_invalid")
        if isinstance(evidence, Signed):
            await self._spend(evidence)
        return key.key_id

    async def meet_store(self) -> None:
        """Let the store mark since when it remembers, before the first order needs it.

        A store that starts to remember in this very second is waited for; one that does not
        answer is not.
        """
        now = self._clock.now().timestamp()
        with suppress(StoreUnavailable):
            met = await self._nonces.spend(f"met:{secrets.token_hex()}", self._ttl_s, int(now))
            await self._clock.sleep(min(max(met.since - now, 0.0), LONGEST_WAIT_S))

    async def _spend(self, evidence: Signed) -> None:
        nonce = hashlib.sha256(f"{evidence.key_id}\0{evidence.nonce}".encode()).hexdigest()
        now_s = int(self._clock.now().timestamp())
        spent = await self._nonces.spend(f"nonce:{nonce}", self._ttl_s, now_s)
        if not spent.first:
            raise self._fault("signature_replayed")
        # A store that forgot, or is new, can't tell whether an older signature was used.
        if evidence.created < spent.since:
            raise self._fault("signature_expired")

    def _fault(self, code: SignatureFault) -> NotPermitted:
        message, hint = _FAULTS[code]
        told = {"server_time": iso(self._clock.now())}
        return NotPermitted(message, code=code, hint=hint, detail=told)
