"""``mcp-gateway db``: the database's schema."""

import json

import click

from mcp_gateway.settings import Settings


@click.group()
def db() -> None:
    """Upgrade or check the database.

    SQLite is upgraded by the gateway itself at its start; PostgreSQL by this command.

    Example: mcp-gateway db check
    """


@db.command()
def upgrade() -> None:
    """Bring the database to the schema of this version.

    Example: DATABASE_URL=postgresql://… mcp-gateway db upgrade
    """
    import anyio

    anyio.run(_upgrade, Settings.load())
    click.echo("The database is up to date.")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def check(as_json: bool) -> int:
    """Tell whether the database has the schema of this version; exit code 1 if not.

    Example: mcp-gateway db check --json
    """
    import anyio

    from mcp_gateway.storage.sql import check as look

    found = anyio.run(look, Settings.load().database_url)
    if as_json:
        told = {"current": found.current, "needed": found.needed, "ready": found.ready}
        click.echo(json.dumps(told))
    elif found.ready:
        click.echo(f"The database is at revision {found.current}, as needed.")
    else:
        click.echo(
            f"The database is at revision {found.current or 'none'}, {found.needed} is needed: "
            "run `mcp-gateway db upgrade`."
        )
    return 0 if found.ready else 1


async def _upgrade(settings: Settings) -> None:
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.clock import Clock
    from mcp_gateway.orders.books import upgraded
    from mcp_gateway.storage.sql import Store

    store = Store(settings.database_url, data_dir=settings.data_dir)
    found = await store.open(migrates=True)
    try:
        if not found.ready:
            await AuditLog(store).write([upgraded(found, Clock())])
    finally:
        await store.close()
