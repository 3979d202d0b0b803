"""``mcp-gateway call``: a person's client."""

import json
import uuid
from typing import TYPE_CHECKING, Any

import click

from mcp_gateway.cli.control.places import sandbox_meant_by
from mcp_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from mcp_gateway.settings import Settings


@click.command()
@click.argument("tool", required=False)
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--url", help="The gateway's MCP address; default: the running sandbox, or HOST:PORT."
)
@click.option("--resource", help="Read this resource instead of calling a tool.")
@click.option("--prompt", "prompt_name", help="Get this prompt instead of calling a tool.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def call(
    tool: str | None,
    arguments: tuple[str, ...],
    url: str | None,
    resource: str | None,
    prompt_name: str | None,
    as_json: bool,
) -> int:
    """Call TOOL of a running gateway over HTTP; without TOOL, list what there is.

    Token and key come from the environment (MCP_GATEWAY_TOKEN, HMAC_SECRET with
    MCP_GATEWAY_SUBJECT), or from the sandbox that runs on this machine. A value is read as
    JSON where it is JSON, else as text. An order without request_id gets a new one.

    Example: mcp-gateway call get_candles pair=BTC/USDT timeframe=5m limit=3
    """
    import anyio

    given = _pairs((tool, *arguments) if tool and (resource or prompt_name) else arguments)
    if tool in {"create_order", "dry_run_order"} and "request_id" not in given:
        given["request_id"] = str(uuid.uuid4())
        click.echo(f"request_id={given['request_id']}", err=True)
    address = _address(url)
    answer, failed = anyio.run(_ask, address, tool, given, resource, prompt_name)
    if isinstance(answer, str) and not as_json:
        click.echo(answer)  # a prompt is for reading
    else:
        click.echo(json.dumps(answer, indent=None if as_json else 2, ensure_ascii=False))
    return 1 if failed else 0


def _pairs(words: tuple[str, ...]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{word}: write KEY=VALUE")
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    return given


def _address(url: str | None) -> dict[str, str]:
    """Return mcp_url, token, key and key_id: from the environment, else from the sandbox."""
    from mcp_gateway.settings import Settings

    settings = Settings.load()
    if settings.token is not None:
        found = {"mcp_url": f"{settings.base_url}/mcp", "token": settings.token.get_secret_value()}
        if settings.hmac_secret is not None and settings.subject:
            found |= {"key": settings.hmac_secret.get_secret_value(), "key_id": settings.subject}
    else:
        sandbox = sandbox_meant_by(settings)
        if sandbox is None:
            raise ConfigurationError([_no_token(settings)])
        if url is not None and url != sandbox["mcp_url"]:
            raise click.UsageError("--url: set MCP_GATEWAY_TOKEN; the sandbox's is for it alone.")
        click.echo(f"→ the running sandbox, {sandbox['mcp_url']}", err=True)
        found = sandbox
    return found | ({"mcp_url": _checked(url)} if url else {})


def _no_token(settings: "Settings") -> str:
    if settings.set_up:
        return (
            "MCP_GATEWAY_TOKEN: set it (mcp-gateway token …); a running sandbox is called only "
            "where nothing is set, in the environment or in .env"
        )
    return "MCP_GATEWAY_TOKEN: set it (mcp-gateway token …), or start `mcp-gateway sandbox`"


def _checked(url: str) -> str:
    """Return an address that can be called; a port beyond all ports ends deep in a library."""
    from mcp_gateway.settings import urls

    try:
        urls.base(url)
    except ValueError as error:
        raise click.UsageError(f"--url: {error}") from None
    return url


async def _ask(
    address: dict[str, str],
    tool: str | None,
    given: dict[str, Any],
    resource: str | None,
    prompt_name: str | None,
) -> tuple[Any, bool]:
    from mcp_gateway.client import GatewayAuth, GatewayRefused, open_session

    try:
        auth = GatewayAuth(address["token"], key=address.get("key"), key_id=address.get("key_id"))
    except ValueError as error:
        name = "HMAC_SECRET" if str(error).startswith("key") else "MCP_GATEWAY_TOKEN"
        raise ConfigurationError([f"{name}: {error}"]) from None
    try:
        async with open_session(address["mcp_url"], auth) as client:
            if resource:
                read = await client.read_resource(resource)
                return json.loads(getattr(read.contents[0], "text", "null")), False
            if prompt_name:
                text = {key: str(value) for key, value in given.items()}
                got = await client.get_prompt(prompt_name, text)
                return getattr(got.messages[0].content, "text", ""), False
            if tool is None:
                return await _offers(client), False
            result = await client.call_tool(tool, given)
            return getattr(result, "structured_content", None), bool(
                getattr(result, "is_error", False)
            )
    except GatewayRefused as error:
        return error.answer, True


async def _offers(client: Any) -> dict[str, Any]:
    tools = (await client.list_tools()).tools
    resources = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates
    prompts = (await client.list_prompts()).prompts
    return {
        "tools": {one.name: list(one.input_schema.get("properties", {})) for one in tools},
        "resources": [str(one.uri) for one in resources],
        "templates": [one.uri_template for one in templates],
        "prompts": {one.name: [a.name for a in one.arguments or []] for one in prompts},
    }
