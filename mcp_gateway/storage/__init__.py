"""Where things are kept: key-value store (memory, Redis) and SQL store (SQLite, PostgreSQL)."""
