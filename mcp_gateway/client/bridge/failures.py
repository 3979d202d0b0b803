"""What the bridge answers itself, where no word of the gateway's arrived."""

from mcp_gateway.client.bridge.frames import Frame
from mcp_gateway.client.failures import GatewayUnreachable
from mcp_gateway.errors import GatewayError, OutcomeUnknown, RequestMalformed, RequestTooLarge


class AnswerLost(GatewayError):
    """The gateway's answer to a call that changes nothing did not arrive."""

    default_code = "answer_lost"
    retryable = True
    default_hint = "Nothing was changed by it. Call again."


class AnswerForeign(GatewayError):
    """What answers at the address speaks no MCP, or wants the call to be made elsewhere."""

    default_code = "no_gateway_there"
    default_hint = "The operator has to look at the bridge's --url."


class TooManyCalls(GatewayError):
    """As many calls as the bridge carries at once are under way."""

    default_code = "too_many_calls"
    retryable = True
    default_hint = "Nothing was sent. Wait for the answers to the calls before, then call again."


def away(frame: Frame) -> GatewayError:
    """Return what is told where nothing could be sent."""
    again = "Send the same order with the same request_id" if frame.is_order else "Call again"
    return GatewayUnreachable(
        "No gateway answers at the bridge's address just now.",
        hint=f"Nothing was sent. {again} in a little while; the operator may have to look.",
    )


def lost(frame: Frame) -> GatewayError:
    """Return what is told where a call may have arrived and its answer did not."""
    if not frame.is_order:
        hint = "Call again: that is safe, for a cancel too." if frame.order_id else None
        return AnswerLost("The gateway's answer did not arrive.", hint=hint)
    hint = (
        "Place nothing under another request_id. Ask get_order with this request_id; if it "
        "knows no such order, send the same order with the same request_id again."
    )
    detail = {} if frame.order_id is None else {"request_id": frame.order_id}
    return OutcomeUnknown(
        "The gateway's answer did not arrive: the call may have been carried out.",
        hint=hint,
        detail=detail,
    )


def foreign(status: int) -> GatewayError:
    """Return what is told of an answer that is no message of MCP."""
    return AnswerForeign(f"What answers at the bridge's address is no gateway (status {status}).")


def unreadable() -> GatewayError:
    """Return what is told of a line that is no JSON."""
    return RequestMalformed("The line is not JSON.", hint="Send one JSON-RPC message in a line.")


def too_long(limit_bytes: int) -> GatewayError:
    """Return what is told of a line without an end in sight."""
    return RequestTooLarge(f"The line is longer than {limit_bytes} bytes.")
