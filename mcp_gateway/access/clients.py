"""The clients that ``POST /auth/token`` serves, and the hashes of their passwords.

They stand in a TOML file that only its owner can read:

    [clients.admin]
    password = "scrypt$…"            # from `mcp-gateway hash-password`
    scopes = ["market:read", "orders:preview"]
    ttl_s = 3600                     # of the tokens it is given
    act_for = []                     # other agents it may name in its orders
"""

import base64
import hashlib
import hmac
import os
import secrets
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from mcp_gateway.access.folders import folder_faults
from mcp_gateway.access.tokens.claims import unfit
from mcp_gateway.errors import ConfigurationError, QuotaExceeded

# OWASP's password storage advice for scrypt in 16 MB. One set for every client: a name whose
# hash were cheaper could be told from an unknown one by the clock.
COST_N: Final = 2**14
COST_R: Final = 8
COST_P: Final = 5
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MEMORY_BYTES: Final = 64 * 1024 * 1024
AT_ONCE: Final = 2  # 16 MB and a core each
WAITING: Final = 16
KEPT_FREE: Final = 4  # of these, for those who have logged in before
SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 1024
DEFAULT_TTL_S: Final = 3600
FIELDS: Final = frozenset({"password", "scopes", "ttl_s", "act_for"})


@dataclass(frozen=True, slots=True)
class Client:
    """Who may fetch tokens, and what stands in them; lifetime in seconds."""

    name: str
    scopes: frozenset[str]
    ttl_s: int
    act_for: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Hash:
    salt: bytes
    digest: bytes

    def fits(self, password: str) -> bool:
        return hmac.compare_digest(_scrypt(password, self.salt), self.digest)


class Clients:
    """The loaded file. Make it with ``load``."""

    def __init__(self, entries: Mapping[str, tuple[Client, _Hash]]) -> None:
        self._entries = dict(entries)
        # Unknown names are checked against this, to take as long as known ones.
        self._nobody = _Hash(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(HASH_BYTES))
        self._at_once = anyio.Semaphore(AT_ONCE)
        self._waiting = 0

    @classmethod
    def load(cls, path: Path, longest_s: int) -> "Clients":
        """Read the clients file.

        Args:
            longest_s: the longest lifetime of a token, in seconds.

        Raises:
            ConfigurationError: every fault of the file, one line each.
        """
        table, faults = _read(path)
        entries = {}
        for name, fields in table.items():
            wrong = _faults(name, fields, longest_s)
            faults += [f"clients.{name}: {fault}" for fault in wrong]
            if not wrong:
                entries[name] = (_client(name, fields), _parse_hash(fields["password"]))
        if faults:
            raise ConfigurationError([f"MCP_GATEWAY_CLIENTS_FILE: {fault}" for fault in faults])
        return cls(entries)

    async def check(self, username: str, password: str, *, is_known: bool = False) -> Client | None:
        """Return the client whose password this is; None for a wrong name or password alike.

        Takes the same time for both, in a worker thread.

        Args:
            is_known: it has logged in from there before; some places are kept for those.

        Raises:
            QuotaExceeded: too many passwords wait to be checked.
        """
        if self._waiting >= (WAITING if is_known else WAITING - KEPT_FREE):
            raise QuotaExceeded("Too many logins at once.", retry_after_s=1.0)
        client, expected = self._entries.get(username, (None, self._nobody))
        self._waiting += 1
        try:
            async with self._at_once:
                fits = await anyio.to_thread.run_sync(expected.fits, password)
        finally:
            self._waiting -= 1
        return client if fits else None

    def __repr__(self) -> str:
        return f"Clients({sorted(self._entries)})"


def hash_password(password: str) -> str:
    """Return what the clients file keeps instead of a password: ``scrypt$N$r$p$salt$hash``.

    Raises:
        ValueError: the password is too short or too long.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    salt = secrets.token_bytes(SALT_BYTES)
    parts = (salt, _scrypt(password, salt))
    salt_text, digest_text = (base64.b64encode(part).decode() for part in parts)
    return f"scrypt${COST_N}${COST_R}${COST_P}${salt_text}${digest_text}"


def _scrypt(password: str, salt: bytes) -> bytes:
    # Hashed first: scrypt itself takes a password and the same with NULs after it for equal.
    key = hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()
    return hashlib.scrypt(
        key, salt=salt, n=COST_N, r=COST_R, p=COST_P, maxmem=MEMORY_BYTES, dklen=HASH_BYTES
    )


def _parse_hash(text: object) -> _Hash:
    """Read a hash of ``hash_password``.

    Raises:
        ValueError: anything else.
    """
    parts = text.split("$") if isinstance(text, str) else []
    if parts[:4] != ["scrypt", str(COST_N), str(COST_R), str(COST_P)] or len(parts) != 6:  # noqa: PLR2004 - the four and two more
        raise ValueError("not a hash of this version")
    salt, digest = (base64.b64decode(part, validate=True) for part in parts[4:])
    if len(salt) != SALT_BYTES or len(digest) != HASH_BYTES:
        raise ValueError("salt or hash of the wrong length")
    return _Hash(salt, digest)


def _read(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    try:
        found, faults = path.stat(), folder_faults(path)
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        return {}, [f"cannot be read ({error.strerror})"]
    except ValueError:
        return {}, ["not TOML in UTF-8"]
    if found.st_uid not in {0, os.geteuid()}:
        faults.append("belongs to another user; chown it")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        faults.append("others can read it; chmod 600")
    if unknown := sorted(set(document) - {"clients"}):
        faults.append(f"unknown table {' '.join(unknown)}")
    table = document.get("clients")
    if not isinstance(table, dict) or not table:
        return {}, [*faults, "no [clients.NAME] in it"]
    return table, faults


def _faults(name: str, fields: object, longest_s: int) -> list[str]:
    if not isinstance(fields, dict):
        return ["not a table"]
    faults = [f"unknown field {field}" for field in sorted(set(fields) - FIELDS)]
    try:
        _parse_hash(fields.get("password"))
    except ValueError:
        faults.append("password: not a hash made by `mcp-gateway hash-password`")
    ttl_s = fields.get("ttl_s", DEFAULT_TTL_S)
    lists = [fields.get("scopes"), fields.get("act_for", [])]
    if not all(_is_words(each) for each in lists):
        faults.append("scopes and act_for: lists of text")
    elif not isinstance(ttl_s, int) or isinstance(ttl_s, bool):
        faults.append("ttl_s: a whole number of seconds")
    elif fault := unfit(name, lists[0], ttl_s, lists[1], longest_s):
        faults.append(fault)
    return faults


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _client(name: str, fields: Mapping[str, Any]) -> Client:
    return Client(
        name=name,
        scopes=frozenset(fields["scopes"]),
        ttl_s=fields.get("ttl_s", DEFAULT_TTL_S),
        act_for=frozenset(fields.get("act_for", [])),
    )
