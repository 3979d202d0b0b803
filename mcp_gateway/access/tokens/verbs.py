"""What an operator asks about tokens, whether a gateway runs or not: JSON-ready answers."""

from collections.abc import Mapping
from typing import Any

from mcp_gateway.access.tokens.board import RevokeRequest, TokenBoard
from mcp_gateway.domain.invalid import read
from mcp_gateway.errors import RequestInvalid


async def revoke_token(board: TokenBoard, args: Mapping[str, Any], operator: str) -> dict[str, str]:
    """Revoke one token (``jti``), or all that a ``subject`` has now; tell until when it counts."""
    return (await board.revoke(read(RevokeRequest, args), operator)).public()


async def inspect_token(
    board: TokenBoard, args: Mapping[str, Any], _operator: str
) -> dict[str, Any]:
    """Tell what stands in a ``token``, whether it is believed here, and whether it is revoked."""
    token = args.get("token")
    if not isinstance(token, str):
        raise RequestInvalid("token is the text of a token.")
    return await board.inspect(token)
