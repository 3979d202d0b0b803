"""Every way in which the gateway says no, as one tree.

Denied is ours, rejected is the bot's, unknown is neither. A class fixes the HTTP
status and whether the same call may be repeated; an instance carries the stable
``code``, a sentence of our own and the agent's next safe step. No sentence of the
bot's and no echoed input belongs in a message.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar


class GatewayError(Exception):
    """Base of every anticipated failure.

    Args:
        message: one sentence of ours, safe to show to a model.
        code: stable snake_case word; the class's own where absent.
        hint: the caller's next safe step; the class's own where absent.
        retry_after_s: seconds after which the same call may succeed.
        detail: further JSON-ready facts (field, rule, limit, value, scope, …).
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "Report this to the operator."

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint or self.default_hint
        self.retry_after_s = retry_after_s
        self.detail = dict(detail or {})
        self.replayed = False  # the recorded answer of an earlier call with the same request_id

    def public(self) -> dict[str, Any]:
        """Return the JSON object that every face shows: code, message, retryable, hint."""
        told: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "hint": self.hint,
        }
        if self.retry_after_s is not None:
            told["retry_after_s"] = self.retry_after_s
        return told | self.detail


class Refusal(GatewayError):
    """An anticipated no of the gateway itself; nothing was done."""

    status = 400
    default_code = "refused"
    default_hint = "Correct the request; nothing was done."


class NotAuthenticated(Refusal):
    """No acceptable proof of who is calling (RFC 6750: 401)."""

    status = 401
    default_code = "token_missing"
    default_hint = "Send a valid bearer token in the Authorization header."


class NotPermitted(Refusal):
    """The caller is known and may not do this (403)."""

    status = 403
    default_code = "scope_missing"
    default_hint = (
        "Ask the operator for the scope: in the token, or over stdio in MCP_GATEWAY_SCOPES."
    )


class HostNotAllowed(Refusal):
    """The Host or Origin header names a place this server does not answer for (421, 403)."""

    status = 421
    default_code = "host_not_allowed"
    default_hint = "Use a host name listed in MCP_GATEWAY_ALLOWED_HOSTS."


class RequestInvalid(Refusal):
    """An argument is missing, unknown, of the wrong type or out of bounds (422)."""

    status = 422
    default_code = "request_invalid"
    default_hint = "Correct the named field and call again."


class RequestTooLarge(Refusal):
    """The body is larger than the gateway reads (413)."""

    status = 413
    default_code = "request_too_large"
    default_hint = "Send a smaller body."


class RequestMalformed(Refusal):
    """The request could not be read at all: not HTTP as agreed, or not JSON (400)."""

    status = 400
    default_code = "request_malformed"
    default_hint = "Send one JSON object in UTF-8, each key once."


class MethodNotAllowed(Refusal):
    """The route exists and knows no such method (405)."""

    status = 405
    default_code = "method_not_allowed"
    default_hint = "Use a method that the Allow header names."


class RequestTimeout(Refusal):
    """The body did not arrive in time (408)."""

    status = 408
    default_code = "request_timeout"
    default_hint = "Nothing was done. Send the whole body without pauses."


class MediaTypeNotSupported(Refusal):
    """The body is of a kind that the route does not read (415)."""

    status = 415
    default_code = "media_type_not_supported"
    default_hint = "Send Content-Type: application/json, without Content-Encoding."


class HeadersTooLarge(Refusal):
    """The request line and headers are larger than the gateway reads (431)."""

    status = 431
    default_code = "headers_too_large"
    default_hint = "Send fewer and shorter headers."


class OrderDenied(Refusal):
    """A pre-trade check failed; the bot was not called (422)."""

    status = 422
    default_code = "order_denied"
    default_hint = "Nothing was sent. Correct the order and use a new request_id."


class IdempotencyConflict(Refusal):
    """The request_id was used before for another order (409)."""

    status = 409
    default_code = "idempotency_conflict"
    default_hint = "Use a new request_id for a new order; get_order tells what the old one did."


class PreviewRefused(Refusal):
    """The preview_id that came with an order does not fit it; the request_id is unused (422)."""

    status = 422
    default_code = "preview_invalid"
    default_hint = (
        "Nothing was sent and the request_id is still unused. Call dry_run_order again, then "
        "create_order with its preview_id; a sell needs none."
    )


class NotPending(Refusal):
    """The order waits for nobody's approval: it was decided, is over, or was withdrawn (409)."""

    status = 409
    default_code = "not_pending"
    default_hint = "Nothing was changed. The order's state tells what became of it."


class OrderNotResting(Refusal):
    """There is nothing to cancel: the order has ended, or was never placed (409)."""

    status = 409
    default_code = "order_not_resting"
    default_hint = "Nothing was cancelled. get_order tells how the order ended."


class NotFound(Refusal):
    """There is no such tool, resource, pair, timeframe or order (404)."""

    status = 404
    default_code = "not_found"
    default_hint = "Read freqtrade://pairs for what this bot serves."


class QuotaExceeded(Refusal):
    """Too many calls in a minute (429)."""

    status = 429
    default_code = "quota_exceeded"
    retryable = True
    default_hint = "Wait retry_after_s seconds, then call again."


class BotError(GatewayError):
    """Trouble on the bot's side."""

    status = 502
    default_code = "bot_error"


class BotRejected(BotError):
    """The bot refused; nothing happened there."""

    status = 502
    default_code = "bot_rejected"
    default_hint = "The bot refused and nothing happened. Read the code, then decide anew."


class BotUnavailable(BotError):
    """The bot did not answer a read, or answered nonsense; nothing was changed (503)."""

    status = 503
    default_code = "bot_unavailable"
    retryable = True
    default_hint = "The bot does not answer. Wait and call again."


class OutcomeUnknown(BotError):
    """An order was sent and its outcome is not known (504)."""

    status = 504
    default_code = "outcome_unknown"
    default_hint = "Do not send it again. Ask get_order with the same request_id."


class StoreUnavailable(GatewayError):
    """The ledger, the cache or the nonce store does not answer; writes fail closed (503)."""

    status = 503
    default_code = "store_unavailable"
    retryable = True
    default_hint = "Nothing was done. Wait and call again with the same request_id."


class IssuerUnavailable(GatewayError):
    """A token's key is unknown, and its issuer does not tell its keys just now (503)."""

    status = 503
    default_code = "issuer_unavailable"
    retryable = True
    default_hint = "Nothing was done. Call again in a few seconds with the same token."


class Draining(GatewayError):
    """The gateway is stopping or starting and takes no orders (503)."""

    status = 503
    default_code = "draining"
    retryable = True
    default_hint = "Nothing was done. Call again with the same request_id in a few seconds."


class InternalError(GatewayError):
    """A bug: logged in full, told in one word."""

    status = 500
    default_code = "internal_error"


class ConfigurationError(GatewayError):
    """Faults in the configuration, all of them at once, before anything starts.

    Args:
        faults: one line each, beginning with the variable's name.
    """

    default_code = "configuration_invalid"
    default_hint = "Mend the named variables; .env.example explains each."

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults), detail={"faults": list(faults)})
        self.faults = tuple(faults)


def failures_in(error: Exception) -> Iterator[Exception]:
    """Yield the failures inside the groups that task groups wrap around them, in their order."""
    if isinstance(error, ExceptionGroup):
        for one in error.exceptions:
            yield from failures_in(one)
    else:
        yield error
