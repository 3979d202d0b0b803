"""Run by alembic, inside the transaction that ``storage.sql`` opened."""

from alembic import context

from mcp_gateway.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # true of SQLite as well, since storage.sql begins by itself
)
with context.begin_transaction():
    context.run_migrations()
