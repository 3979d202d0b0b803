"""The one gate: token, scope, signature, nonce, quota; then, and only then, an admission.

Every face (MCP over stdio and HTTP, REST) asks here, so none can be more generous than
another. The door knows bytes and no operation; the gate knows the operation and no bytes.
"""

import hashlib
from typing import TYPE_CHECKING, Final, Literal

from mcp_gateway.access.claims import acceptable_subject
from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.limiter import Limiter
from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock, iso
from mcp_gateway.domain.operations import Operation
from mcp_gateway.domain.principals import (
    Admission,
    Credentials,
    PlainSigned,
    Principal,
    Signed,
    Unsigned,
    admission_by_the_gate,
)
from mcp_gateway.errors import (
    ConfigurationError,
    GatewayError,
    NotAuthenticated,
    NotPermitted,
)
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import Bucket, KeyValue
from mcp_gateway.storage.memory import MemoryKeyValue
from mcp_gateway.telemetry import logs, metrics

if TYPE_CHECKING:
    from mcp_gateway.access.tokens import TokenVerifier

LOCAL: Final = "local"  # issuer, and default subject, of whoever starts the process
# A signature may be dated one window ahead, so it fits for two; the margin covers replicas
# whose clocks differ by seconds.
NONCE_MARGIN_S: Final = 5
# Refusals of one caller that become audit rows in a minute.
NOTED_PER_MINUTE: Final = 60
SignatureFault = Literal[
    "signature_missing", "signature_invalid", "signature_expired", "signature_replayed"
]
_FAULTS: Final[dict[SignatureFault, tuple[str, str]]] = {
    "signature_missing": (
        "This call must be signed.",
        "Sign the request by RFC 9421 (label gw, tag mcp-gateway) with the key of your subject.",
    ),
    "signature_invalid": (
        "The signature does not fit the request, or its key is not the caller's.",
        "Sign the exact bytes, method, host and path that you send, with your subject's key.",
    ),
    "signature_expired": (
        "The signature's time is too far from the server's.",
        "Set your clock by server_time, sign anew and send at once.",
    ),
    "signature_replayed": (
        "This signature was used before.",
        "Sign every request anew; for the same order keep its request_id.",
    ),
}

_log = logs.get(__name__)


class Gate:
    """Decides who may do what, how often, and signed how.

    Args:
        verifier: reads tokens; None where the process takes none.
        local: the caller of stdio without a token, whose keys the process holds anyway.
        local_token: MCP_GATEWAY_TOKEN, checked again on every call of stdio.
        nonces: remembers used nonces; shared by every process.
        signature_window_s: as given to ``judge``; nonces are kept for twice as long.
        audit_reads: whether admitted reads are noted too.
        plain_signatures: whether REST may use the predecessor's form, which can be replayed.
    """

    def __init__(
        self,
        *,
        verifier: "TokenVerifier | None",
        local: Principal | None,
        local_token: str | None,
        limiter: Limiter,
        nonces: KeyValue,
        keyring: Keyring,
        trail: Trail,
        clock: Clock,
        signature_window_s: int,
        audit_reads: bool,
        plain_signatures: bool = False,
    ) -> None:
        self.verifier: Final = verifier
        self.keyring: Final = keyring
        self._local = local
        self._local_token = local_token
        self._limiter = limiter
        self._nonces = nonces
        self._trail = trail
        self._clock = clock
        self._window_s = signature_window_s
        self._audit_reads = audit_reads
        self._plain_signatures = plain_signatures
        self._noted = MemoryKeyValue(clock)

    def authenticate(self, credentials: Credentials) -> Principal:
        """Return who is calling.

        Raises:
            NotAuthenticated: token_missing, token_invalid or token_expired.
        """
        token = credentials.token
        if credentials.channel == "stdio" and token is None:
            token = self._local_token
        if token is not None and self.verifier is not None:
            return self.verifier.verify(token)
        if token is None and self._local is not None and _is_own_process(credentials):
            return self._local
        raise NotAuthenticated("No token was sent that this server could check.")

    def may_see(self, credentials: Credentials, operation: Operation) -> bool:
        """Tell whether the caller's scopes allow the operation; spends nothing."""
        try:
            principal = self.authenticate(credentials)
        except NotAuthenticated:
            return False
        return not operation.scopes.isdisjoint(principal.scopes)

    async def admit(self, credentials: Credentials, operation: Operation) -> Admission:
        """Let one call pass, or say why not; a refused call is noted, counted and logged.

        Raises:
            NotAuthenticated: who is calling is not proven.
            NotPermitted: scope_missing, or signature_missing, _invalid, _expired, _replayed.
            QuotaExceeded: too many calls; the nonce of a signed one is spent nonetheless.
            StoreUnavailable: the operation writes and nonces or quotas cannot be checked.
        """
        principal = None
        try:
            principal = self.authenticate(credentials)
            key_id = await self._check(principal, credentials, operation)
        except GatewayError as refusal:
            await self._refused(principal, credentials, operation, refusal)
            raise
        if self._audit_reads and not operation.writes:
            self._trail.note(self._event("call.read", principal, credentials, operation))
        return admission_by_the_gate(
            principal, operation, credentials.channel, credentials.call_id, key_id
        )

    async def _check(
        self, principal: Principal, credentials: Credentials, operation: Operation
    ) -> str | None:
        # The order matters: who lacks the scope or the key spends neither nonce nor quota,
        # so a stolen token alone cannot use up an agent's orders.
        if operation.scopes.isdisjoint(principal.scopes):
            wanted = " ".join(sorted(operation.scopes))
            raise NotPermitted("The token lacks a scope for this.", detail={"scope": wanted})
        key_id = None
        if operation.signed and not _is_own_process(credentials):
            key_id = await self._check_signature(principal, credentials)
        await self._limiter.spend(principal, operation)
        return key_id

    async def _check_signature(self, principal: Principal, credentials: Credentials) -> str:
        evidence = credentials.evidence
        if isinstance(evidence, Unsigned):
            raise self._not_signed(evidence.code)
        if isinstance(evidence, PlainSigned) and not (
            self._plain_signatures and credentials.channel == "rest"
        ):
            raise self._not_signed("signature_missing")
        key = self.keyring.find(evidence.key_id)
        if key is None or key.subject != principal.subject:
            raise self._not_signed("signature_invalid")
        if isinstance(evidence, Signed) and not await self._is_first(evidence):
            raise self._not_signed("signature_replayed")
        return key.key_id

    async def _is_first(self, evidence: Signed) -> bool:
        spent = hashlib.sha256(f"{evidence.key_id}\0{evidence.nonce}".encode()).hexdigest()
        ttl_s = 2 * self._window_s + NONCE_MARGIN_S
        return await self._nonces.add_if_absent(f"nonce:{spent}", ttl_s)

    def _not_signed(self, code: SignatureFault) -> NotPermitted:
        message, hint = _FAULTS[code]
        told = {"server_time": iso(self._clock.now())}
        return NotPermitted(message, code=code, hint=hint, detail=told)

    async def _refused(
        self,
        principal: Principal | None,
        credentials: Credentials,
        operation: Operation,
        refusal: GatewayError,
    ) -> None:
        metrics.calls_total.labels(operation.name, credentials.channel, refusal.code).inc()
        _log.info(
            "call refused", user=principal and principal.subject, operation=operation.name,
            channel=credentials.channel, code=refusal.code, call_id=credentials.call_id,
        )  # fmt: skip
        # Strangers, and a caller who repeats a refused call without end, could fill the disk.
        if principal is None or not await self._is_worth_a_row(principal):
            return
        self._trail.note(self._event("call.refused", principal, credentials, operation, refusal))

    async def _is_worth_a_row(self, principal: Principal) -> bool:
        """Tell whether a refusal of this caller is still noted; the counters have them all."""
        caller = f"{principal.issuer}\n{principal.subject}"
        bucket = Bucket(caller, NOTED_PER_MINUTE, NOTED_PER_MINUTE)
        if (await self._noted.take([bucket])).allowed:
            return True
        metrics.audit_rows_total.labels(result="suppressed").inc()
        return False

    def _event(
        self,
        event: str,
        principal: Principal,
        credentials: Credentials,
        operation: Operation,
        refusal: GatewayError | None = None,
    ) -> AuditEvent:
        return AuditEvent(
            event=event,
            at=self._clock.now(),
            issuer=principal.issuer,
            subject=principal.subject,
            channel=credentials.channel,
            operation=operation.name,
            call_id=credentials.call_id,
            code=refusal.code if refusal else None,
            detail=refusal.detail if refusal else {},
        )


def build_gate(settings: Settings, kv: KeyValue, trail: Trail, clock: Clock) -> Gate:
    """Return the gate of one process, as the settings describe it.

    Raises:
        ConfigurationError: names that no token or signature could carry.
    """
    keyring = Keyring.from_settings(settings)
    if settings.legacy_signature:
        _log.warning("X-Signature is accepted on REST: it can be replayed; request_id guards")
    return Gate(
        verifier=_verifier(settings, keyring, clock),
        local=local_principal(settings),
        local_token=settings.token.get_secret_value() if settings.token else None,
        limiter=Limiter(
            kv,
            per_minute=settings.rate_limit_per_minute,
            server_per_minute=settings.server_rate_limit_per_minute,
            clock=clock,
        ),
        nonces=kv,
        keyring=keyring,
        trail=trail,
        clock=clock,
        signature_window_s=settings.signature_window_s,
        audit_reads=settings.audit_reads,
        plain_signatures=settings.legacy_signature,
    )


def _verifier(settings: Settings, keyring: Keyring, clock: Clock) -> "TokenVerifier | None":
    if keyring.jwt_secret is None:
        return None
    # PyJWT costs 0.1 s of start-up, which stdio without tokens should not pay.
    from mcp_gateway.access.tokens import verifier_from  # noqa: PLC0415 - see above

    return verifier_from(settings, keyring, clock)


def local_principal(settings: Settings) -> Principal:
    """Return the caller that the process's own environment names.

    Raises:
        ConfigurationError: the subject is unusable, or tokens could claim the same identity.
    """
    faults = []
    if settings.issuer == LOCAL:
        faults.append(f"MCP_GATEWAY_ISSUER: {LOCAL!r} means the caller of stdio; choose another")
    if not acceptable_subject(subject := settings.subject or LOCAL):
        faults.append("MCP_GATEWAY_SUBJECT: printable text of 1 to 128 characters")
    if faults:
        raise ConfigurationError(faults)
    return Principal(issuer=LOCAL, subject=subject, scopes=frozenset(settings.scopes))


def _is_own_process(credentials: Credentials) -> bool:
    """Whoever reaches these channels runs the process, or owns its socket: no wire between."""
    return credentials.channel in {"stdio", "control"}
