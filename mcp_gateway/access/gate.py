"""The one gate: token, scope, signature, nonce, quota; then, and only then, an admission.

Every face (MCP over stdio and HTTP, REST) asks here, so none can be more generous than
another. The door knows bytes and no operation; the gate knows the operation and no bytes.
"""

from contextlib import suppress
from typing import Final

from mcp_gateway.access.callers import Callers, callers_from, is_own_process
from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.keys.keeper import KeyKeeper
from mcp_gateway.access.limiter import Limiter
from mcp_gateway.access.proof import Proof
from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import OPERATIONS, TOOLS, Operation
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import (
    Admission,
    Credentials,
    Principal,
    admission_by_the_gate,
)
from mcp_gateway.domain.quotas import Meter, Reserve
from mcp_gateway.errors import (
    GatewayError,
    NotPermitted,
    QuotaExceeded,
    StoreUnavailable,
)
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import Bucket, KeyValue
from mcp_gateway.storage.memory import Counts
from mcp_gateway.telemetry import logs, metrics

# Refusals of one caller that become audit rows in a minute.
NOTED_PER_MINUTE: Final = 60

_log = logs.get(__name__)


class Gate:
    """Decides who may do what, how often, and signed how.

    Args:
        callers: tells who is calling.
        keys: keeps the keys that sign as their file says.
        audit_reads: whether admitted reads are noted too.
        mode: of the bot, as the operator declares it.
    """

    def __init__(
        self,
        *,
        callers: Callers,
        limiter: Limiter,
        proof: Proof,
        keys: KeyKeeper,
        trail: Trail,
        clock: Clock,
        audit_reads: bool,
        mode: Mode = "dry-run",
    ) -> None:
        self.verifier: Final = callers.verifier
        self.issuing: Final = callers.issuing
        self.keyring: Final = keys.keyring
        self.keys: Final = keys
        self._callers = callers
        self._limiter = limiter
        self._proof = proof
        self._trail = trail
        self._clock = clock
        self._audit_reads = audit_reads
        self._mode = mode
        self._noted = Counts(clock)

    @property
    def issuers(self) -> tuple[str, ...]:
        """The ``iss`` of everybody but the gateway itself whose tokens are believed."""
        return self._callers.issuers

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return who is calling; raises NotAuthenticated and IssuerUnavailable."""
        return await self._callers.authenticate(credentials)

    def recognise(self, credentials: Credentials) -> Principal:
        """Return who is calling, by what is known already; raises NotAuthenticated."""
        return self._callers.recognise(credentials)

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
            principal = await self.authenticate(credentials)
            key_id = await self._check(principal, credentials, operation)
            reserve = await self._spend(principal, credentials.meter, operation)
        except GatewayError as refusal:
            metrics.calls_total.labels(operation.name, credentials.channel, refusal.code).inc()
            await self.note_refusal(principal, credentials, refusal, operation)
            raise
        if self._audit_reads and not operation.writes:
            self._trail.note(self._event("call.read", principal, credentials, operation))
        return admission_by_the_gate(
            principal, operation, credentials.channel, credentials.call_id, key_id, reserve
        )

    async def meet_store(self) -> None:
        """Meet the store of the nonces before the first order does."""
        await self._proof.meet_store()

    async def note_refusal(
        self,
        principal: Principal | None,
        credentials: Credentials,
        refusal: GatewayError,
        operation: Operation | None = None,
    ) -> None:
        """Log a refusal, and write a known caller's into the audit log, so many a minute.

        Args:
            principal: None for strangers, who could fill the disk with their refusals.
            operation: None where the call was refused before anyone knew what it wanted.
        """
        _log.info(
            "call refused", user=principal and principal.subject,
            operation=operation and operation.name,
            channel=credentials.channel, code=refusal.code, call_id=credentials.call_id,
        )  # fmt: skip
        if principal is not None and self._is_worth_a_row(principal):
            event = self._event("call.refused", principal, credentials, operation, refusal)
            self._trail.note(event)

    async def calls_left(self, principal: Principal) -> dict[str, int]:
        """Return how many calls the caller's tools have left just now, by quota."""
        open_to = [OPERATIONS[name] for name in TOOLS]
        open_to = [one for one in open_to if self.lacking(principal.scopes, one) is None]
        return await self._limiter.left(principal, open_to)

    def lacking(self, scopes: frozenset[str], operation: Operation) -> str | None:
        """Return the scopes of which a caller lacks one for an operation; None: it may.

        On a gateway to real money some want a scope of their own beside the usual one.
        """
        if operation.scopes.isdisjoint(scopes):
            return " ".join(sorted(operation.scopes))
        if self._mode == "live" and operation.live_scope not in {None, *scopes}:
            return operation.live_scope
        return None

    async def _check(
        self, principal: Principal, credentials: Credentials, operation: Operation
    ) -> str | None:
        # The order matters: who lacks the scope or the key spends neither nonce nor quota,
        # so a stolen token alone cannot use up an agent's orders.
        if (wanted := self.lacking(principal.scopes, operation)) is not None:
            raise NotPermitted("The caller lacks a scope for this.", detail={"scope": wanted})
        if operation.signed and not is_own_process(credentials):
            return await self._proof.key_id(principal, credentials)
        return None

    async def _spend(
        self, principal: Principal, meter: Meter | None, operation: Operation
    ) -> Reserve | None:
        """Count the call; return the reserve where that alone can let it pass."""
        meter = meter or Meter()
        try:
            await self._limiter.spend(principal, operation, meter)
        except QuotaExceeded as refusal:
            if (quota := operation.reserve) is None:
                raise
            return Reserve(refusal, lambda: self._leave(principal, quota, meter))
        meter.passed = True
        return None

    async def _leave(self, principal: Principal, quota: str, meter: Meter) -> None:
        """Let an exit out by the reserve."""
        await self._limiter.spend_reserve(principal, quota, meter)
        meter.passed = True

    def _is_worth_a_row(self, principal: Principal) -> bool:
        """Tell whether a refusal of this caller is still noted; the counters have them all."""
        caller = f"{principal.issuer}\n{principal.subject}"
        bucket = Bucket(caller, NOTED_PER_MINUTE, NOTED_PER_MINUTE)
        with suppress(StoreUnavailable):  # more callers refused at once than are counted
            if self._noted.take([bucket]).allowed:
                return True
        metrics.audit_rows_total.labels(result="suppressed").inc()
        return False

    def _event(
        self,
        event: str,
        principal: Principal,
        credentials: Credentials,
        operation: Operation | None,
        refusal: GatewayError | None = None,
    ) -> AuditEvent:
        return AuditEvent(
            event=event,
            at=self._clock.now(),
            issuer=principal.issuer,
            subject=principal.subject,
            channel=credentials.channel,
            operation=operation.name if operation else None,
            call_id=credentials.call_id,
            code=refusal.code if refusal else None,
            detail=refusal.detail if refusal else {},
        )


def build_gate(
    settings: Settings,
    kv: KeyValue,
    trail: Trail,
    clock: Clock,
    revocations: Revocations | None = None,
) -> Gate:
    """Return the gate of one process, as the settings describe it.

    Raises:
        ConfigurationError: names that no token or signature could carry, or a faulty file.
    """
    keyring = Keyring.from_settings(settings)
    if settings.legacy_signature:
        _log.warning("X-Signature is accepted on REST: it can be replayed; request_id guards")
    return Gate(
        callers=callers_from(settings, keyring, clock, revocations),
        limiter=Limiter(
            kv,
            per_minute=settings.rate_limit_per_minute,
            caller_per_minute=settings.calls_per_minute_in_all,
            server_per_minute=settings.server_rate_limit_per_minute,
            clock=clock,
        ),
        proof=Proof(
            keyring,
            kv,
            clock,
            window_s=settings.signature_window_s,
            plain=settings.legacy_signature,
        ),
        keys=KeyKeeper(settings.keys_file, keyring, clock),
        trail=trail,
        clock=clock,
        audit_reads=settings.audit_reads,
        mode=settings.mode,
    )
