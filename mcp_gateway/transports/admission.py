"""The way into every operation, for both languages: the gate, then the work, then the count."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio

from mcp_gateway.access.gate import Gate
from mcp_gateway.domain.operations import Operation
from mcp_gateway.domain.principals import Admission, Credentials
from mcp_gateway.errors import GatewayError, OrderDenied, Refusal
from mcp_gateway.telemetry import metrics

_admitted: ContextVar[Admission] = ContextVar("admitted")


def current_admission() -> Admission:
    """Return the admission that the gate made for this call.

    Raises:
        LookupError: a handler was reached around the gate, which is a bug.
    """
    return _admitted.get()


@asynccontextmanager
async def admitted(
    gate: Gate, credentials: Credentials, operation: Operation
) -> AsyncIterator[Admission]:
    """Ask the gate, and keep its admission for as long as the call runs.

    Whatever becomes of an admitted call is counted once, and a refusal goes into the audit
    log; a denied order alone does not, for the ledger has written its own row.

    Raises:
        NotAuthenticated, NotPermitted, QuotaExceeded, StoreUnavailable: the gate refuses; it
            has counted and noted that itself.
    """
    admission = await gate.admit(credentials, operation)
    token = _admitted.set(admission)
    code = "internal_error"
    try:
        yield admission
        code = "ok"
    except GatewayError as error:
        code = error.code
        if isinstance(error, Refusal) and not isinstance(error, OrderDenied):
            await gate.note_refusal(admission.principal, credentials, error, operation)
        raise
    except anyio.get_cancelled_exc_class():
        code = "cancelled"
        raise
    finally:
        _admitted.reset(token)
        metrics.calls_total.labels(operation.name, credentials.channel, code).inc()
