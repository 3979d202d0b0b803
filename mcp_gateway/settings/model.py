"""Everything that can be set, with its default and meaning; every fault named at once.

A name that the predecessor had keeps its name; the gateway's own begin with
``MCP_GATEWAY_``. ``.env`` in the working folder is read too, the environment wins.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import urls
from mcp_gateway.settings.access import ForAccess, Words, words
from mcp_gateway.settings.bridge import ForBridge
from mcp_gateway.settings.folders import default_data_dir
from mcp_gateway.settings.names import ENV_FILE, by_environment, readable, told, unknown_names
from mcp_gateway.settings.people import ForPeople
from mcp_gateway.settings.people import env as _env
from mcp_gateway.settings.safety import Purpose, is_loopback, unsafe


class Settings(ForAccess, ForBridge, ForPeople):
    """Everything that can be set from outside, with its default and meaning."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True,
        case_sensitive=True, env_ignore_empty=True, hide_input_in_errors=True,
    )  # fmt: skip

    # Secrets
    jwt_secret: SecretStr | None = _env(
        "JWT_SECRET", None, "Key of the one-box HS256 tokens, at least 32 bytes."
    )
    hmac_secret: SecretStr | None = _env(
        "HMAC_SECRET", None, "Key that signs the orders of MCP_GATEWAY_SUBJECT, at least 32 bytes."
    )

    # Freqtrade
    freqtrade_url: str = _env(
        "FREQTRADE_URL", "http://127.0.0.1:8080", "Where the bot's REST API listens."
    )
    freqtrade_username: str | None = _env("FREQTRADE_USERNAME", None, "User of the bot's API.")
    freqtrade_password: SecretStr | None = _env("FREQTRADE_PASSWORD", None, "Its password.")
    freqtrade_ws_token: SecretStr | None = _env(
        "FREQTRADE_WS_TOKEN", None, "Token of the bot's message websocket; unset: polling only."
    )
    freqtrade_pool_size: int = _env(
        "FREQTRADE_POOL_SIZE", 20, "Connections kept for reads.", ge=1, le=1000
    )
    read_timeout_s: float = _env(
        "MCP_GATEWAY_READ_TIMEOUT_S", 10.0, "Wall-clock deadline of a read, in seconds.",
        gt=0, le=120,
    )  # fmt: skip
    order_timeout_s: float = _env(
        "MCP_GATEWAY_ORDER_TIMEOUT_S", 45.0,
        "Wall-clock deadline of an order; the bot's own retries take 18 s and more.",
        ge=1, le=600,
    )  # fmt: skip
    quiet_s: float = _env(
        "MCP_GATEWAY_QUIET_S", 300.0,
        "How long an order without an answer is watched before its absence may count, in seconds.",
        ge=1, le=3600,
    )  # fmt: skip

    bot: str = _env(
        "MCP_GATEWAY_BOT", "freqtrade",
        "Name of the bot in the ledger; a new one when FREQTRADE_URL points to another bot.",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
    )  # fmt: skip

    # Redis and PostgreSQL (none: memory and SQLite)
    redis_url_given: SecretStr | None = _env(
        "REDIS_URL", None, "Redis as one URL; takes the place of the three below."
    )
    redis_host: str | None = _env("REDIS_HOST", None, "Redis host; unset: in memory.")
    redis_port: int = _env("REDIS_PORT", 6379, "Redis port.", ge=1, le=65535)
    redis_password: SecretStr | None = _env("REDIS_PASSWORD", None, "Redis password.")
    redis_ttl: int = _env(
        "REDIS_TTL", 300, "The longest a cached answer is kept, in seconds.", ge=1, le=86400
    )
    database_url_given: SecretStr | None = _env(
        "DATABASE_URL", None,
        "postgresql://… as one URL; takes the place of the five below.",
    )  # fmt: skip
    postgres_host: str | None = _env(
        "POSTGRES_HOST", None, "PostgreSQL host; unset: SQLite in the data folder."
    )
    postgres_port: int = _env("POSTGRES_PORT", 5432, "PostgreSQL port.", ge=1, le=65535)
    postgres_user: str = _env("POSTGRES_USER", "bot_user", "PostgreSQL user.")
    postgres_password: SecretStr | None = _env("POSTGRES_PASSWORD", None, "PostgreSQL password.")
    postgres_db: str = _env("POSTGRES_DB", "trading_bot", "PostgreSQL database.")

    # Limits and logs
    policy: Path | None = _env(
        "MCP_GATEWAY_POLICY", None,
        "TOML file of the policy: limits of the agents, lot steps and minimums of the markets.",
    )  # fmt: skip
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _env(
        "LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Literal["json", "console"] = _env(
        "LOG_FORMAT", "json", "json, or console for people."
    )

    # The gateway's own
    host: str = _env("MCP_GATEWAY_HOST", "127.0.0.1", "Address to listen on.")
    port: int = _env("MCP_GATEWAY_PORT", 8000, "Port to listen on.", ge=0, le=65535)
    data_dir: Path = Field(
        default_factory=default_data_dir,
        validation_alias=AliasChoices("MCP_GATEWAY_DATA_DIR"),
        description="Folder of the embedded store and the control socket.",
    )
    public_url: str | None = _env(
        "MCP_GATEWAY_PUBLIC_URL", None,
        "The base URL that callers use, when it is not http://HOST:PORT.",
    )  # fmt: skip
    allowed_hosts: Words = _env(
        "MCP_GATEWAY_ALLOWED_HOSTS", (), "Host headers answered besides loopback, by comma."
    )
    allowed_origins: Words = _env(
        "MCP_GATEWAY_ALLOWED_ORIGINS", (), "Origins of browsers that may call, by comma."
    )
    max_body_bytes: int = _env(
        "MCP_GATEWAY_MAX_BODY_BYTES", 65536, "The largest request body, or line over stdio.",
        ge=1024, le=4_194_304,
    )  # fmt: skip
    audit_reads: bool = _env("MCP_GATEWAY_AUDIT_READS", False, "Write reads to the audit log too.")
    mode: Literal["dry-run", "live"] = _env(
        "MCP_GATEWAY_MODE", "dry-run", "The mode the bot must be in; live needs a policy file."
    )

    @field_validator("allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return words(value)

    @field_validator("freqtrade_url", "public_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        return None if value is None else urls.base(value)

    @property
    def base_url(self) -> str:
        """The URL that callers use, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def redis_url(self) -> str | None:
        """Redis as one URL, None where everything stays in memory."""
        if self.redis_url_given is not None:
            return self.redis_url_given.get_secret_value()
        if self.redis_host is None:
            return None
        return urls.redis(self.redis_host, self.redis_port, self.redis_password)

    @property
    def database_url(self) -> str:
        """The store as an SQLAlchemy URL: PostgreSQL where configured, else SQLite."""
        if self.database_url_given is not None:
            return urls.with_driver(self.database_url_given.get_secret_value())
        if self.postgres_host is None:
            return f"sqlite:///{self.data_dir / 'gateway.sqlite'}"
        return urls.postgres(
            self.postgres_host, self.postgres_port, self.postgres_user,
            self.postgres_password, self.postgres_db,
        )  # fmt: skip

    @property
    def set_up(self) -> bool:
        """Whether anything but the form of the logs was set: then a gateway of one's own is meant."""
        return bool(self.model_fields_set - {"log_level", "log_format"})

    @property
    def embedded_store(self) -> bool:
        """Whether the store is SQLite: one gateway process holds it."""
        return self.database_url.startswith("sqlite")

    @property
    def keys_file(self) -> Path:
        """The file that keeps the signing keys; it need not be there."""
        return self.keys_file_given or self.data_dir / "keys.json"

    @property
    def control_socket(self) -> Path:
        """The socket by which the command line speaks to a running gateway."""
        return self.data_dir / "control.sock"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @classmethod
    def load(
        cls, purpose: Purpose = "command", *checks: Callable[["Settings"], list[str]],
        **overrides: Any,
    ) -> "Settings":  # fmt: skip
        """Read environment and ``.env``, refusing unsafe sets for ``purpose``.

        Args:
            checks: return faults of what settings point at; told together with all others.
            overrides: field names with values from the command line; they win.

        Raises:
            ConfigurationError: every fault, one line each, the variable's name first.
        """
        faults = unknown_names(cls)
        settings: Settings | None = None
        try:
            settings = cls(**by_environment(cls, overrides))
        except ValidationError as error:
            faults += told(error)
        if settings is None:
            # The cross-checks still look at what could be read, so that all is told at once.
            settings = cls.model_construct(**readable(cls, overrides))
        faults += unsafe(settings, purpose)
        for check in checks:
            faults += check(settings)
        if faults:
            raise ConfigurationError(list(dict.fromkeys(faults)))
        return settings

    @classmethod
    def apart(cls, **values: Any) -> "Settings":
        """Return settings made of ``values`` and defaults alone, whatever the environment says.

        The sandbox is set up so: a real bot's address or a real store must not leak into it.

        Raises:
            ConfigurationError: a value is invalid.
        """
        try:
            return _Apart(**by_environment(cls, values))
        except ValidationError as error:
            raise ConfigurationError(told(error)) from None


class _Apart(Settings):
    """Settings that read no environment and no file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (pydantic's signature)
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
