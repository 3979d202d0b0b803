"""One fetch of an issuer's keys: straight, small, soon, and from whom it should be."""

import gzip
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mcp_gateway.access.tokens.fetching import LARGEST_BYTES, FetchFailed, fetch
from tests.support.issuers import ed25519, jwks, published
from tests.support.rogue import Connection

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

Misbehaviour = Callable[[Connection], Awaitable[None]]


def saying(head: str, body: bytes = b"") -> Misbehaviour:
    """Return an answer with this head."""

    async def answer(connection: Connection) -> None:
        length = f"content-length: {len(body)}\r\n" if "length" not in head else ""
        await connection.send(f"HTTP/1.1 {head}\r\n{length}\r\n".encode() + body)
        await connection.end()

    return answer


async def drip(connection: Connection) -> None:
    """Send a byte now and then: a time-out for each byte would never come."""
    await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        await connection.send(b" ")
        await anyio.sleep(0.02)


async def flood(connection: Connection) -> None:
    """Send without an end, in chunks."""
    await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await connection.send(b"8000\r\n" + b" " * 0x8000 + b"\r\n")


async def hang(connection: Connection) -> None:
    await connection.hang()


async def vanish(connection: Connection) -> None:
    await connection.reset()


FAILURES: dict[str, tuple[Misbehaviour, str]] = {
    "silent": (hang, "no answer within 1 seconds"),
    "dripping": (drip, "no answer within 1 seconds"),
    "resetting": (vanish, "no connection"),
    "not HTTP": (saying("garbage"), "no connection"),
    "not there": (saying("404 Not Found"), "status 404"),
    "failing": (saying("500 Internal Server Error", jwks(ed25519())), "status 500"),
    "empty": (saying("204 No Content"), "status 204"),
    "cached": (saying("304 Not Modified"), "status 304"),
    "redirecting": (saying("302 Found\r\nlocation: http://127.0.0.1:9/"), "a redirect"),
    "redirecting for ever": (saying("308 P\r\nlocation: https://keys.example/"), "a redirect"),
    "cut": (saying("200 OK\r\ncontent-length: 100", b"{"), "no connection"),
    "endless": (flood, f"more than {LARGEST_BYTES} bytes"),
    "large": (saying("200 OK", b" " * (LARGEST_BYTES + 1)), f"more than {LARGEST_BYTES} bytes"),
    "a bomb": (
        saying("200 OK\r\ncontent-encoding: gzip", gzip.compress(b" " * 50_000_000)), "a packed answer"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("misbehaves", "reason"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_server_that_misbehaves_brings_nothing(
    misbehaves: Misbehaviour, reason: str
) -> None:
    """Bounded in time and size; no redirect is followed, nothing is unpacked."""
    async with published(misbehaves=misbehaves) as issuer:
        with pytest.raises(FetchFailed) as failed, anyio.fail_after(20):
            await fetch(issuer.url, deadline_s=1.0 if "within" in reason else 10.0)
    assert str(failed.value).startswith(reason)
    assert issuer.fetches <= 1  # none where this machine is slower than the deadline


async def test_nobody_there_is_told(free_port: int) -> None:
    """A dead issuer is a reason, no crash."""
    with pytest.raises(FetchFailed, match="no connection"):
        await fetch(f"http://127.0.0.1:{free_port}/jwks")


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that is held and not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("cache_control", "fresh_s"),
    [
        ("", None), ("cache-control: max-age=600\r\n", 600),
        ("cache-control: public, max-age=600, must-revalidate\r\n", 600),
        ('cache-control: Max-Age="600"\r\n', 600), ("cache-control: s-maxage=600\r\n", None),
        ("cache-control: no-store\r\n", 0), ("cache-control: max-age=600, no-cache\r\n", 0),
        ("cache-control: max-age=-1\r\n", None), ("cache-control: max-age=9999999999\r\n", None),
        ("cache-control: max-age=x\r\n", None),
    ],
)  # fmt: skip
async def test_the_server_says_how_long_it_is_fresh(
    cache_control: str, fresh_s: int | None
) -> None:
    """RFC 9111 section 5.2.2.1; nonsense counts as nothing said."""
    head = "200 OK" + ("\r\n" + cache_control.rstrip() if cache_control else "")
    async with published(misbehaves=saying(head, b"{}")) as issuer:
        fetched = await fetch(issuer.url)
    assert (fetched.body, fetched.fresh_s) == (b"{}", fresh_s)


async def test_no_proxy_of_the_environment_is_asked(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    """Whoever sets HTTP_PROXY would hand out the keys."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    async with published(ed25519()) as issuer:
        assert (await fetch(issuer.url)).body == jwks(ed25519())
    [request] = issuer.requests
    assert b"authorization" not in request.lower()
    assert b"cookie" not in request.lower()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key and a certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private.write_bytes(pkcs8)
    return chain, private


async def test_over_https_the_certificate_must_be_one_that_is_trusted(tmp_path: Path) -> None:
    """An own authority is named by ca_file; nobody else's certificate will do."""
    chain, private = certificate(tmp_path, "issuer")
    stranger, _ = certificate(tmp_path, "stranger")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, private)
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.extra(anyio.abc.SocketAttribute.local_port)
    body = jwks(ed25519())

    async def serve(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async with anyio.create_task_group() as group:
        group.start_soon(TLSListener(plain, context, standard_compatible=False).serve, serve)
        url = f"https://127.0.0.1:{port}/jwks"
        assert (await fetch(url, chain)).body == body
        for untrusted in (None, stranger):
            with pytest.raises(FetchFailed, match="no connection"):
                await fetch(url, untrusted)
        with pytest.raises(FetchFailed, match="unusable"):
            await fetch(url, private)
        group.cancel_scope.cancel()
    await plain.aclose()
