"""An answer's body, held to a bound: what answers at an address may not fill the memory."""

from typing import Final

import httpx2

LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024  # more than any answer of a gateway's


async def bounded(answer: httpx2.Response, limit_bytes: int = LARGEST_ANSWER_BYTES) -> bytes:
    """Return the body of an answer that is being read; nothing of one above the limit.

    Raises:
        httpx2.RequestError: it broke off.
    """
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > limit_bytes:
            return b""
    return bytes(body)
