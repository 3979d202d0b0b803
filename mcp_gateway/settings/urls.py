"""Addresses: what is one, and those of stores made of parts (a password may hold anything)."""

from urllib.parse import quote, urlsplit

from pydantic import SecretStr


def base(url: str) -> str:
    """Return an HTTP address without a trailing slash.

    Raises:
        ValueError: it is none, names a port that there is not, or holds a password.
    """
    parts = urlsplit(url)
    _ = parts.port  # raises: a client would end deep in its own library
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an http:// or https:// URL")
    if parts.username or parts.password:
        raise ValueError("a URL without user and password in it")
    return url.rstrip("/")


def redis(host: str, port: int, password: SecretStr | None) -> str:
    """Return the URL of a Redis."""
    login = f":{_quoted(password)}@" if password else ""
    return f"redis://{login}{host}:{port}/0"


def postgres(host: str, port: int, user: str, password: SecretStr | None, database: str) -> str:
    """Return the SQLAlchemy URL of a PostgreSQL."""
    secret = f":{_quoted(password)}" if password else ""
    return f"postgresql+psycopg://{quote(user, safe='')}{secret}@{host}:{port}/{database}"


def with_driver(url: str) -> str:
    """Return a database's URL with the name of the driver that is used here."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme.startswith("postgres") else url


def _quoted(secret: SecretStr) -> str:
    return quote(secret.get_secret_value(), safe="")
