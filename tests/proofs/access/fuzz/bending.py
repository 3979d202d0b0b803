"""How a good request becomes a bad one: faults that must be refused, and noise that may be."""

import gzip
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, Final

from tests.proofs.access.fuzz.calls import Call
from tests.proofs.access.fuzz.documents import Pairs, Raw, at, places, put, tree, written

Header = tuple[str, str]
LITERALS: Final = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-2000000", "-0", "0x10", "01", "+1",
    "1_000", "1.", ".5", "True", "None", "undefined", "'x'", "1" * 5000, "1e1000000000",
    '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\q"', '"\x01"', "",
)  # fmt: skip
NO_JSON: Final = tuple(
    one
    for one in LITERALS
    if one not in {"", "-0", "1e-2000000", '"\\u0000"', "1e999", "-1e999", "1e1000000000"}
)
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1.5, 2**53, 2**63, -(2**200), "", " ", "null", "3", "true", "1e999",
    "NaN", "Infinity", "-0", "１", "1_0", "\u202e\u200b", "\x00", "a" * 3000, "../../etc/passwd",
    "' OR 1=1 --", "{{pair}}", "%00", "\ud83d\ude00", [], {}, [[]], {"a": {"b": []}}, "BTC/USDT\n",
    "btc/usdt", "BTC/USDT ", "٣", 1e308, 5e-324, "0" * 4000, 10**400,
)  # fmt: skip
WORDS: Final = ("limit ", "Limit", "__proto__", "constructor", "extra", "pаir", "", "a" * 300)
NOISY_HEADERS: Final[tuple[Header, ...]] = (
    ("content-type", "text/plain"), ("content-type", "application/json; charset=utf-16"),
    ("content-type", ""), ("content-encoding", "gzip"), ("content-encoding", "identity, br"),
    ("accept", "text/html"), ("accept", "application/json;q=0"), ("origin", "https://evil.example"),
    ("origin", "null"), ("host", "evil.example"), ("host", "127.0.0.1:8000"),
    ("authorization", "Bearer x"), ("authorization", "Basic eDp5"), ("content-length", "0"),
    ("content-length", "-1"), ("content-length", "99999999"), ("transfer-encoding", "chunked"),
    ("mcp-method", "tools/list"), ("mcp-name", "create_order"), ("mcp-name", "=?base64?!!?="),
    ("mcp-protocol-version", "2030-01-01"), ("mcp-protocol-version", "2025-11-25"),
    ("mcp-session-id", "\xff"), ("signature", "gw=:AAAA:"), ("signature-input", 'gw=("@method")'),
    ("content-digest", "sha-256=:AAAA:"), ("x-signature", "0" * 64), ("expect", "100-continue"),
    ("x-http-method-override", "DELETE"), ("forwarded", "for=1.2.3.4;host=evil.example"),
    ("x-forwarded-for", "not an address"), ("last-event-id", "1"), ("idempotency-key", "x"),
    ("range", "bytes=0-1"), ("if-none-match", "*"), ("cookie", "a=b"), ("x-a", "b" * 9000),
    ("x-\xff", "\xff\xfe"), ("access-control-request-method", "POST"), ("upgrade", "websocket"),
)  # fmt: skip


def duplicate_key(root: Any, rng: Random) -> None:
    """Say one key twice."""
    owner = rng.choice([one for one, _ in places([root]) if isinstance(one, Pairs) and one.items])
    key, value = rng.choice(owner.items)
    owner.items.insert(rng.randint(0, len(owner.items)), (key, value))


def no_json(root: Any, rng: Random) -> None:
    """Write a literal that JSON does not have."""
    put(rng.choice(list(places(root))), Raw(rng.choice(NO_JSON)))


def too_deep(root: Any, rng: Random) -> None:
    """Nest without end."""
    depth = rng.choice((40, 200, 5000, 20_000))
    put(rng.choice(list(places(root))), Raw("[" * depth + "]" * depth))


def unknown_member(root: Any, rng: Random) -> None:
    """Say something that the call does not know, where every member is known."""
    target = root
    if "params" in target.keys:
        [params] = [value for key, value in root.items if key == "params"]
        inner = [value for key, value in params.items if key == "arguments"]
        is_named = dict(root.items)["method"] in {"tools/call", "prompts/get", "resources/read"}
        target = rng.choice([root, *([params, *inner] if is_named else [])])
    target.items.append((rng.choice(("extra", "limitt", "__proto__", "Pair", "a" * 300)), 1))


def oversized(root: Any, _rng: Random) -> None:
    """Grow beyond what is read."""
    put(next(places(root)), "a" * 70_000)


def odd_id(root: Any, rng: Random) -> None:
    """Give a JSON-RPC call an id that nothing can be answered to."""
    bad: tuple[Any, ...] = (None, 1.5, True, [], {}, 2**60, "x" * 500, Raw("1e2"))
    _put_key(root, "id", rng.choice(bad))


def no_id(root: Any, _rng: Random) -> None:
    """Send a call as if it were a notification."""
    root.items = [(key, value) for key, value in root.items if key != "id"]


def no_object(root: Any, _rng: Random) -> Any:
    """Send a batch."""
    return [root]


Fault = Callable[[Any, Random], Any]
FAULTS: Final[tuple[Fault, ...]] = (duplicate_key, no_json, too_deep, oversized, no_object)
FAULTY, ARGUED, NOISY = 0.3, 0.7, 0.87  # where each way of bending begins or ends
_OF_EMPTY_ONES: Final = frozenset({no_object, unknown_member})
RPC_FAULTS: Final[tuple[Fault, ...]] = (*FAULTS, odd_id, no_id, unknown_member)


def _put_key(root: Pairs, wanted: str, value: Any) -> None:
    root.items = [(key, value if key == wanted else old) for key, old in root.items]


def bent(call: Call, rng: Random) -> tuple[bytes, bool]:
    """Return a body that is wrong in one way or in several, and whether it must be refused."""
    root, mode = tree(call.document), rng.random()
    if mode < FAULTY:
        fault = rng.choice(RPC_FAULTS if call.language != "rest" else (*FAULTS, unknown_member))
        if root.items or fault in _OF_EMPTY_ONES:
            return _bytes(fault(root, rng) or root, rng), True
    # What reaches the work itself is worth the most, so the rest is left whole more often.
    inner = _arguments(root) if mode < ARGUED else root
    for _ in range(rng.randint(0, 2)):
        _bend(inner, rng)
    body = _bytes(root, rng)
    return (noisy(body, rng) if mode > NOISY else body), False


def _bytes(root: Any, rng: Random) -> bytes:
    return written(root, rng).encode("utf-8", "surrogatepass")


def _arguments(root: Pairs) -> Any:
    """Return the arguments of a tool call; of anything else the whole."""
    params = dict(root.items).get("params")
    arguments = dict(params.items).get("arguments") if isinstance(params, Pairs) else None
    return root if arguments is None else arguments


def _bend(root: Any, rng: Random) -> None:
    found = list(places(root))
    if not found:
        return
    place = rng.choice(found)
    container, index = place
    what = rng.randrange(7)
    if what == 0:
        put(place, Raw(rng.choice(LITERALS)))
    elif what == 1 and isinstance(container, Pairs):
        container.items[index] = (rng.choice(WORDS), at(place))
    elif what == 2 and isinstance(container, Pairs):
        del container.items[index]
    elif what == 3 and isinstance(container, Pairs):
        container.items.append((rng.choice(WORDS), rng.choice(VALUES)))
    elif what == 4:
        put(place, [at(place)])
    elif what == 5:
        put(place, deepcopy(at(rng.choice(found))))
    else:
        put(place, tree(rng.choice(VALUES)))


def noisy(body: bytes, rng: Random) -> bytes:
    """Return the bytes with something done to them that no JSON library does."""
    what = rng.randrange(10)
    if what == 0:
        return b"\xef\xbb\xbf" + body
    if what == 1:
        return body.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-7")))
    if what == 2:
        return gzip.compress(body, 1)
    if what == 3:
        return body + rng.choice((body, b"{}", b"\x00", b",", b"//x", b"\n\n"))
    if what == 4:
        return body[: rng.randint(0, len(body))]
    return _torn(body, rng) if what > 5 else rng.randbytes(rng.randint(0, 200))


def _torn(body: bytes, rng: Random) -> bytes:
    """Return the bytes with some flipped, some put in, some missing."""
    told = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        what, at_byte = rng.randrange(3), rng.randint(0, len(told))
        if what == 0 and at_byte < len(told):
            told[at_byte] ^= 1 << rng.randrange(8)
        elif what == 1:
            told[at_byte:at_byte] = rng.choice((b"\x00", b"\xff", b"\xc0\x80", b'"', b"{", b"\\"))
        else:
            del told[at_byte : at_byte + rng.randint(1, 8)]
    return bytes(told)


def bent_headers(headers: list[Header], rng: Random) -> list[Header]:
    """Return headers of which some are missing, doubled, changed or new."""
    told = list(headers)
    for _ in range(rng.randint(1, 3)):
        what = rng.randrange(4)
        if what == 0 and told:
            del told[rng.randrange(len(told))]
        elif what == 1 and told:
            told.append(rng.choice(told))
        elif what == 2:
            told += [(f"x-{n}", "a") for n in range(rng.choice((3, 150)))]
        else:
            told.append(rng.choice(NOISY_HEADERS))
    return told


def bent_text(text: str, rng: Random) -> str:
    """Return a path or query with something else in it."""
    bits = (
        "", "%", "%00", "%2e%2e/", "%ff", "//", "?", "#", ";x=1", "&", "=", "&limit=5", "+", " ",
        "\xff", "%F0%9F%98%80", "a" * 9000, "{request_id}", "&use_cache=TRUE", "&limit=1e3",
    )  # fmt: skip
    at_char = rng.randint(0, len(text))
    cut = rng.choice((0, 0, 1, 5))
    return text[:at_char] + rng.choice(bits) + text[at_char + cut :]
