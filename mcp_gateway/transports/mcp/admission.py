"""The admission of the call that runs just now, from the gated server to its handlers."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace

from mcp_gateway.access.gate import Gate
from mcp_gateway.domain.operations import Operation
from mcp_gateway.domain.principals import Admission, Credentials
from mcp_gateway.transports.credentials import caller

_admitted: ContextVar[Admission] = ContextVar("admitted")


def shown() -> Credentials:
    """Return what the present caller showed; a stdio connection gets a new id for each call."""
    credentials = caller.get()
    if credentials.channel == "stdio":
        return replace(credentials, call_id=uuid.uuid4().hex)
    return credentials


def current_admission() -> Admission:
    """Return the admission that the gate made for this call.

    Raises:
        LookupError: a handler was reached around the gate, which is a bug.
    """
    return _admitted.get()


@asynccontextmanager
async def admitted(gate: Gate, operation: Operation) -> AsyncIterator[Admission]:
    """Ask the gate and keep its admission for as long as the call runs.

    Raises:
        NotAuthenticated, NotPermitted, QuotaExceeded, StoreUnavailable: the gate refuses.
    """
    admission = await gate.admit(shown(), operation)
    token = _admitted.set(admission)
    try:
        yield admission
    finally:
        _admitted.reset(token)
