"""The issuers whose tokens are believed beside the one box, read from a TOML file.

    [issuers.desk]
    issuer = "https://login.example"                     # the tokens' iss, exactly
    algorithm = "EdDSA"                                  # or ES256, RS256: the only one
    jwks_url = "https://login.example/jwks.json"         # or key_file = "desk.pem"
    scopes = ["market:read", "orders:create"]            # the most its tokens may carry
    subjects = ["desk-*"]                                # whom its tokens may name

Whoever can write the file, or a key file, decides who trades: others must not be able to.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from mcp_gateway.access.folders import OTHERS_WRITE, folder_faults
from mcp_gateway.access.tokens.claims import LONGEST_LIST, acceptable_subject
from mcp_gateway.access.tokens.fetching import unfit_url
from mcp_gateway.access.tokens.issuers import ANYBODY, FixedKeys, Issuer, KeySource
from mcp_gateway.access.tokens.jwks import JwksKeys
from mcp_gateway.access.tokens.publickeys import ASYMMETRIC, Asymmetric, read_key_file
from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES, SCOPES
from mcp_gateway.errors import ConfigurationError

LARGEST_BYTES: Final = 256 * 1024
LONGEST_ISSUER: Final = 256
SHORTEST_LIFE_S: Final = 60
LONGEST_LIFE_S: Final = 31_536_000
MOST_ISSUERS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")

Fields = Mapping[str, Any]


def load_issuers(
    path: Path, *, audience: str, longest_s: int, taken: Iterable[str], clock: Clock
) -> list[Issuer]:
    """Read the issuers file and the key files that it names.

    Args:
        audience: of issuers that name none.
        longest_s: the longest lifetime, in seconds, of their tokens.
        taken: ``iss`` that mean somebody else already.

    Raises:
        ConfigurationError: every fault of the file, one line each, with issuer and field.
    """
    table, faults = _read(path)
    seen = set(taken)
    issuers = []
    for name, fields in table.items():
        wrong = _faults(name, fields, path.parent, seen)
        if isinstance(fields, dict) and isinstance(fields.get("issuer"), str):
            seen.add(fields["issuer"])
        faults += [f"issuers.{name}: {fault}" for fault in wrong]
        if not wrong:
            issuers.append(_issuer(name, fields, path.parent, audience, longest_s, clock))
    if faults:
        raise ConfigurationError([f"MCP_GATEWAY_ISSUERS_FILE: {fault}" for fault in faults])
    return issuers


def _read(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    try:
        document = tomllib.loads(_bytes(path).decode("utf-8"))
    except OSError as error:
        return {}, [f"cannot be read ({error.strerror})"]
    except (ValueError, RecursionError):
        return {}, [f"not TOML in UTF-8 of at most {LARGEST_BYTES} bytes"]
    faults = [*writers(path.name, path.stat()), *folder_faults(path)]
    if unknown := sorted(set(document) - {"issuers"}):
        faults.append(f"unknown table {' '.join(unknown)}")
    table = document.get("issuers")
    if not isinstance(table, dict) or not table:
        return {}, [*faults, "no [issuers.NAME] in it"]
    if len(table) > MOST_ISSUERS:
        return {}, [*faults, f"more than {MOST_ISSUERS} issuers"]
    return table, faults


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(LARGEST_BYTES + 1)
    if len(raw) > LARGEST_BYTES:
        raise ValueError("too large")
    return raw


def writers(name: str, found: os.stat_result) -> list[str]:
    """Return why others than the gateway's user (or root) could change a file."""
    faults = []
    if found.st_mode & OTHERS_WRITE:
        faults.append(f"{name}: others can write it; chmod go-w")
    if found.st_uid not in {0, os.geteuid()}:
        faults.append(f"{name}: belongs to another user; chown it")
    return faults


def _faults(name: str, fields: object, folder: Path, taken: set[str]) -> list[str]:
    if not _NAME.match(name):
        return ["a name has 1 to 64 letters, digits, dots, dashes"]
    if not isinstance(fields, dict):
        return ["not a table"]
    faults = [f"unknown field {field}" for field in sorted(set(fields) - FIELDS.keys())]
    for field, check in FIELDS.items():
        if field in fields and (fault := check(fields[field])):
            faults.append(f"{field}: {fault}")
        elif field in {"issuer", "algorithm"} and field not in fields:
            faults.append(f"{field}: missing")
    if fields.get("issuer") in taken:
        faults.append("issuer: stands for somebody else already; one issuer has one way")
    return [*faults, *_source_faults(fields, folder)]


def _source_faults(fields: Fields, folder: Path) -> Iterator[str]:
    """Yield what is wrong with where the keys come from."""
    if ("key_file" in fields) == ("jwks_url" in fields):
        yield "key_file or jwks_url: one of the two"
    if "ca_file" in fields and "jwks_url" not in fields:
        yield "ca_file: belongs to a jwks_url"
    for field in ("key_file", "ca_file"):
        if isinstance(fields.get(field), str):
            for fault in _file_faults(folder / fields[field], field, fields.get("algorithm")):
                yield f"{field}: {fault}"


def _file_faults(path: Path, field: str, algorithm: object) -> list[str]:
    try:
        raw = _bytes(path)
        if field == "key_file" and algorithm in ASYMMETRIC:
            read_key_file(raw, cast("Asymmetric", algorithm))
        return [*writers(path.name, path.stat()), *folder_faults(path)]
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror})"]
    except ValueError as error:
        return [str(error)]


def _text_fault(value: object) -> str | None:
    return None if isinstance(value, str) and value else "text"


def _issuer_fault(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        return "text, as it stands in the tokens' iss"
    return None if 0 < len(value) <= LONGEST_ISSUER else f"1 to {LONGEST_ISSUER} characters"


def _algorithm_fault(value: object) -> str | None:
    if isinstance(value, str) and value in ASYMMETRIC:
        return None
    return f"one of {' '.join(ASYMMETRIC)}"


def _life_fault(value: object) -> str | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and SHORTEST_LIFE_S <= cast("int", value) <= LONGEST_LIFE_S:
        return None
    return f"a whole number of seconds, {SHORTEST_LIFE_S} to {LONGEST_LIFE_S}"


def _scopes_fault(value: object) -> str | None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return "a list of text"
    if unknown := sorted(set(value) - set(SCOPES)):
        return f"unknown scope {' '.join(unknown)}; known: {' '.join(SCOPES)}"
    return None


def _subjects_fault(value: object) -> str | None:
    if not isinstance(value, list) or not 0 < len(value) <= LONGEST_LIST:
        return f"a list of 1 to {LONGEST_LIST} names"
    if not all(isinstance(each, str) and _is_pattern(each) for each in value):
        return "names of subjects, or their beginning with * at the end"
    return None


def _is_pattern(text: str) -> bool:
    name = text.removesuffix("*")
    return "*" not in name and (text == "*" or acceptable_subject(name))


FIELDS: Final[Mapping[str, Callable[[object], str | None]]] = {
    "issuer": _issuer_fault,
    "algorithm": _algorithm_fault,
    "key_file": _text_fault,
    "jwks_url": unfit_url,
    "ca_file": _text_fault,
    "audience": _text_fault,
    "longest_s": _life_fault,
    "scopes": _scopes_fault,
    "subjects": _subjects_fault,
}


def _issuer(
    name: str, fields: Fields, folder: Path, audience: str, longest_s: int, clock: Clock
) -> Issuer:
    return Issuer(
        name=name,
        issuer=fields["issuer"],
        algorithm=fields["algorithm"],
        audience=fields.get("audience", audience),
        longest_s=fields.get("longest_s", longest_s),
        source=_source(name, fields, folder, clock),
        # Nothing dangerous is a default: who shall trade is said in the file.
        scopes=frozenset(fields.get("scopes", DEFAULT_LOCAL_SCOPES)),
        subjects=tuple(fields.get("subjects", ANYBODY)),
    )


def _source(name: str, fields: Fields, folder: Path, clock: Clock) -> KeySource:
    algorithm: Asymmetric = fields["algorithm"]
    if "key_file" in fields:
        return FixedKeys(read_key_file(_bytes(folder / fields["key_file"]), algorithm))
    ca_file = folder / fields["ca_file"] if "ca_file" in fields else None
    return JwksKeys(name, fields["jwks_url"], algorithm, clock, ca_file=ca_file)
