"""Which schema a database has, and how it gets to the one this program needs."""

from dataclasses import dataclass

from sqlalchemy import Connection, inspect, text

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.schema import REVISION, REVISIONS
from mcp_gateway.storage.trouble import TITLES, EngineName

# One migration at a time, whoever starts it; any number does, as long as it stays the same.
_MIGRATING = text("SELECT pg_advisory_xact_lock(7261637469)")


@dataclass(frozen=True, slots=True)
class Revisions:
    """The schema a database has (None: nothing yet), and the one this program needs."""

    current: str | None
    needed: str = REVISION

    @property
    def ready(self) -> bool:
        """Whether the program can work with this database."""
        return self.current == self.needed


def read_revisions(connection: Connection) -> Revisions:
    """Ask the database itself; alembic is not loaded for that."""
    if not inspect(connection).has_table("alembic_version"):
        return Revisions(None)
    return Revisions(connection.scalar(text("SELECT version_num FROM alembic_version")))


def refuse_newer(engine: EngineName, found: Revisions) -> None:
    """Refuse a database whose revision this program has never heard of.

    Raises:
        StoreUnavailable: ``schema_newer``.
    """
    if found.current not in {None, *REVISIONS}:
        raise StoreUnavailable(
            f"{TITLES[engine]} was prepared by a newer mcp-gateway.",
            code="schema_newer",
            hint="Install the newer mcp-gateway; a schema never goes back.",
        )


def outdated(engine: EngineName, found: Revisions) -> StoreUnavailable:
    """Return the refusal of a database that an operator has to migrate."""
    return StoreUnavailable(
        f"{TITLES[engine]} is at revision {found.current or 'none'}, not {found.needed}.",
        code="schema_outdated",
        hint="Run `mcp-gateway db upgrade` once, then start again.",
    )


def migrate(connection: Connection) -> None:
    """Run every missing revision in the transaction of ``connection``."""
    # Loading alembic takes 0.3 s, which only the start that migrates should pay.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    if connection.dialect.name == "postgresql":
        connection.execute(_MIGRATING)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "mcp_gateway.storage:migrations")
    command.upgrade(config, "head")
