"""The person at an MCP client, whom the gateway asks through it (elicitation)."""

from typing import Final

from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult, ErrorData

from mcp_gateway.transports.mcp import elicitation

YES: Final = ElicitResult(action="accept", content={"approve": True})
DECLINED: Final = ElicitResult(action="decline")


class Asked:
    """A person who always answers the same, and remembers what was shown."""

    def __init__(self, answer: ElicitResult | ErrorData) -> None:
        self.answer = answer
        self.shown: list[str] = []

    async def __call__(
        self,
        context: ClientRequestContext,  # noqa: ARG002  (the SDK's signature)
        params: ElicitRequestParams,
    ) -> ElicitResult | ErrorData:
        """Answer one question."""
        assert isinstance(params, ElicitRequestFormParams)
        assert params.requested_schema == elicitation.SCHEMA
        self.shown.append(params.message)
        return self.answer
