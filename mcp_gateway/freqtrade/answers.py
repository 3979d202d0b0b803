"""What an answer of the bot proves.

A 502 is its refusal, a 500 or a lost answer leaves an order's outcome unknown, and two
refusals are none: the bot says no after it has cancelled something.
"""

from http import HTTPStatus

from mcp_gateway.domain.answers import Accepted, Answer, Refused, Unanswered
from mcp_gateway.errors import BotRejected, BotUnavailable, GatewayError, NotFound
from mcp_gateway.freqtrade import wire

# Beginnings of the reasons that Freqtrade 2026.9 gives (rpc.py), in words of ours.
REASONS = {
    "Symbol does not exist": "pair_inactive",
    "Wrong pair selected": "quote_currency_wrong",
    "Maximum number of trades": "no_free_slot",
    "position for ": "position_exists",
    "Force_entry not enabled": "entries_disabled",
    "trader is not running": "bot_not_running",
    "Can't go short": "short_not_possible",
    "Failed to enter position": "entry_refused",
    "Remaining amount of ": "remainder_too_small",
    "invalid argument": "trade_not_open",
    "Invalid trade_id": "trade_not_open",
    "No open order for trade_id": "no_open_order",
}
UNKNOWN_REASON = "bot_refused"
# Said after the fact: an unfilled entry has been cancelled and its trade deleted.
CANCELLED_AND_GONE = "no active trade"
DONE_ALTHOUGH_REFUSED = ("Failed to exit trade", CANCELLED_AND_GONE)
# Statuses by which the bot's web server turns a request away before its trading part sees it.
TURNED_AWAY: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "bot_credentials",
    HTTPStatus.NOT_FOUND: "bot_endpoint_missing",
    HTTPStatus.UNPROCESSABLE_ENTITY: "bot_request_invalid",
}


def code_of(reason: str) -> str:
    """Translate the bot's reason for a refusal into a word of ours."""
    return next(
        (code for start, code in REASONS.items() if reason.startswith(start)), UNKNOWN_REASON
    )


def unaccepted(status: int, body: bytes) -> Refused | Unanswered:
    """Tell what an answer other than 200 to an order proves.

    Only Freqtrade's own bodies prove a refusal: a proxy's 502 says that the bot's answer got
    lost, not that it was no.
    """
    if status == HTTPStatus.BAD_GATEWAY:
        reason = wire.reason(body)
        if reason is None:
            return Unanswered("bot_failed")
        code = code_of(reason)
        # A reason that this table does not know may be one that is given after the fact.
        if code == UNKNOWN_REASON or reason.startswith(DONE_ALTHOUGH_REFUSED):
            return Unanswered("refusal_unproven")
        return Refused(code)
    if status == HTTPStatus.SERVICE_UNAVAILABLE and wire.is_wrong_state(body):
        return Refused("bot_not_running")
    if status in TURNED_AWAY and wire.is_turned_away(body):
        return Refused(TURNED_AWAY[status])
    return Unanswered(
        "bot_failed" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bot_nonsense"
    )


def failed_read(status: int, body: bytes) -> GatewayError:
    """Turn an answer other than 200 to a read into the error that it is."""
    if status == HTTPStatus.NOT_FOUND and wire.is_trade_missing(body):
        return NotFound("The bot has no such trade.", code="trade_not_found")
    if status == HTTPStatus.BAD_GATEWAY and (reason := wire.reason(body)) is not None:
        return BotRejected("The bot refused to answer.", code=code_of(reason))
    if status == HTTPStatus.SERVICE_UNAVAILABLE and wire.is_wrong_state(body):
        return BotUnavailable(
            "The bot is not in a state that answers this.",
            code="bot_stopped",
            hint="Wait until the operator has started the bot, then call again.",
        )
    if status == HTTPStatus.UNAUTHORIZED:
        return BotUnavailable(
            "The bot does not accept the gateway's credentials.",
            code="bot_credentials",
            hint="The operator has to check FREQTRADE_USERNAME and FREQTRADE_PASSWORD; "
            "call again afterwards.",
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BotUnavailable("The bot failed to answer; nothing was changed.", code="bot_failed")
    return wire.nonsense()


def entered(status: int, body: bytes) -> Answer:
    """Tell what the answer to an entry proves."""
    if status != HTTPStatus.OK:
        return unaccepted(status, body)
    try:
        trade = wire.entered(body)
    except BotUnavailable as error:
        return Unanswered(error.code)
    # A 200 without a trade: the order went through, its trade was gone a moment later.
    return Unanswered("trade_missing") if trade is None else Accepted(trade)


def exited(status: int, body: bytes) -> Answer:
    """Tell what the answer to an exit proves."""
    if status != HTTPStatus.OK:
        return unaccepted(status, body)
    return Accepted(None) if wire.is_result(body) else Unanswered("bot_nonsense")


def cancelled(status: int, body: bytes) -> Answer:
    """Tell what the answer to a cancel proves.

    "Order not found." proves nothing: the exchange failed, and another order of the trade
    may have been cancelled before.
    """
    if status == HTTPStatus.BAD_GATEWAY and wire.reason(body) == CANCELLED_AND_GONE:
        return Accepted(None)
    if status != HTTPStatus.OK:
        return unaccepted(status, body)
    try:
        return Accepted(wire.trade(body))
    except BotUnavailable as error:
        return Unanswered(error.code)


def switched(status: int, body: bytes) -> Answer:
    """Tell what the answer to a pause or a start proves; the bot's state tells the rest."""
    if status != HTTPStatus.OK:
        return unaccepted(status, body)
    return Accepted(None) if wire.is_status(body) else Unanswered("bot_nonsense")
