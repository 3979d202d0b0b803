"""Where tokens come from: what clients of OAuth read before they ask for one.

Source: RFC 9728 (the protected resource), RFC 8414 (the authorization server).
"""

from typing import Final
from urllib.parse import urlsplit

from mcp_gateway.domain.operations import SCOPES
from mcp_gateway.domain.principals import Credentials
from mcp_gateway.errors import NotFound
from mcp_gateway.gateway import Gateway
from mcp_gateway.settings import Settings
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.shapes import ResourceMetadata, ServerMetadata
from mcp_gateway.transports.routes import MCP

RESOURCE_PATH: Final = "/.well-known/oauth-protected-resource"
SERVER_PATH: Final = "/.well-known/oauth-authorization-server"
TOKEN_PATH: Final = "/auth/token"  # noqa: S105 - a path, no secret
# Nobody logs in with a browser here, and nothing answers there; clients insist on its name.
NO_AUTHORIZATION_PATH: Final = "/auth/authorize"


class Discovery:
    """Tells which authorization servers there are, and of the gateway's own what it can do.

    Args:
        has_clients: whether clients are configured, so that the gateway is one of them.
    """

    def __init__(self, *, has_clients: bool) -> None:
        self._has_clients = has_clients

    async def resource(self, gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
        """Answer GET /.well-known/oauth-protected-resource.

        Servers whose issuer is no URL are left out: nobody could ask them. Where none is left
        the field is, too: RFC 9728 section 3.2 wants no empty lists.
        """
        settings = gateway.settings
        own = [server_issuer(settings)] if self._gives(gateway) else []
        others = [one for one in gateway.gate.issuers if _is_url(one) and one not in own]
        shape = ResourceMetadata(
            resource=resource_of(settings),
            authorization_servers=[*own, *others] or None,
            scopes_supported=list(SCOPES),
            bearer_methods_supported=["header"],
            resource_name="MCP Gateway",
        )
        return Answer(200, shape.model_dump_json(exclude_none=True).encode())

    async def server(self, gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
        """Answer GET /.well-known/oauth-authorization-server.

        Raises:
            NotFound: no clients are configured, so there is no such server here.
        """
        if not self._gives(gateway):
            raise NotFound(
                "This server gives no tokens.",
                code="token_endpoint_off",
                hint="The protected resource's metadata names who does.",
            )
        settings = gateway.settings
        shape = ServerMetadata(
            issuer=server_issuer(settings),
            authorization_endpoint=f"{settings.base_url}{NO_AUTHORIZATION_PATH}",
            token_endpoint=f"{settings.base_url}{TOKEN_PATH}",
            scopes_supported=list(SCOPES),
            response_types_supported=[],
            grant_types_supported=["client_credentials"],
            token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post"],
        )
        return Answer(200, shape.model_dump_json().encode())

    def _gives(self, gateway: Gateway) -> bool:
        return self._has_clients and gateway.gate.issuing is not None


def resource_of(settings: Settings) -> str:
    """Return the identifier of this server as a resource (RFC 8707): where MCP is spoken."""
    return f"{settings.base_url}{MCP.path}"


def is_this_resource(settings: Settings, wanted: str) -> bool:
    """Tell whether a ``resource`` parameter means this server: /mcp, all of it, or its ``aud``."""
    here = {resource_of(settings), settings.base_url, settings.audience}
    return wanted in here or wanted.removesuffix("/") in here


def server_issuer(settings: Settings) -> str:
    """Return the issuer in the metadata: RFC 8414 section 3.3 wants the URL it is found under.

    It is ``iss`` of the tokens, too, where MCP_GATEWAY_ISSUER is that URL.
    """
    is_same = settings.issuer.removesuffix("/") == settings.base_url
    return settings.issuer if is_same else settings.base_url


def _is_url(issuer: str) -> bool:
    return urlsplit(issuer).scheme in {"http", "https"}
