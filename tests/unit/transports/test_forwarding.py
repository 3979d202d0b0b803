"""What reverse proxies tell of a caller: believed of those that are named, and of nobody else."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.errors import ConfigurationError, RequestMalformed
from mcp_gateway.settings import Settings
from mcp_gateway.transports.forwarding import Outside, Proxies
from tests.support.gateway import settings_for

pytestmark = [pytest.mark.unit]

NEAR, FAR, CALLER = "10.0.0.1", "10.0.0.2", "203.0.113.9"
TRUSTED = ("10.0.0.0/8", "2001:db8:1::/48")
XF, XP, XH, F = "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"


def outside(*lines: tuple[str, str], peer: str = NEAR, **settings: Any) -> Outside:
    told = {"trusted_proxies": TRUSTED} | settings
    proxies = Proxies(settings_for(Path("/nowhere"), **told))
    return proxies.outside(peer, tuple((name.encode(), value.encode()) for name, value in lines))


def refused(*lines: tuple[str, str]) -> str:
    with pytest.raises(RequestMalformed) as refusal:
        outside(*lines)
    return refusal.value.code


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ("http", None, NEAR)),
        ([(XF, CALLER)], ("http", None, CALLER)),
        ([(XF, CALLER), (XP, "https"), (XH, "gw.example")], ("https", "gw.example", CALLER)),
        ([(XP, "HTTPS"), (XH, "GW.example:8443")], ("https", "GW.example:8443", NEAR)),
        ([(F, f"for={CALLER};proto=https;host=gw.example")], ("https", "gw.example", CALLER)),
        ([(F, f'For="{CALLER}:4711" ; Host="gw.example:8443"; PROTO=https')],
         ("https", "gw.example:8443", CALLER)),
        ([(F, 'for="[2001:db8:9::7]:4711"')], ("http", None, "2001:db8:9::7")),
        ([(XF, "2001:DB8:9:0::7")], ("http", None, "2001:db8:9::7")),
        ([(XF, "[2001:db8:9::7]:4711")], ("http", None, "2001:db8:9::7")),
        ([(XF, f"{CALLER}:4711")], ("http", None, CALLER)),
        ([(XF, f"::ffff:{CALLER}")], ("http", None, CALLER)),
        ([(F, "for=unknown;proto=https")], ("https", None, NEAR)),
        ([(F, "for=_hidden")], ("http", None, NEAR)),
        ([(F, r'for="203.0.113.9";secret="a\"b,c;d"')], ("http", None, CALLER)),
        ([(F, "by=10.0.0.1;proto=https")], ("https", None, NEAR)),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_trusted_proxy_tells_scheme_host_and_caller(
    lines: list[tuple[str, str]], expected: tuple[str, str | None, str]
) -> None:
    """RFC 7239 section 4, and the X- forms that came before it."""
    assert outside(*lines) == Outside(*expected)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Two proxies of ours: what the far one wrote counts, which saw the caller.
        ([(XF, f"{CALLER}, {FAR}"), (XP, "https, http"), (XH, "gw.example, inner")],
         ("https", "gw.example", CALLER)),
        ([(XF, CALLER), (XF, FAR), (XH, "gw.example"), (XH, "inner")],
         ("http", "gw.example", CALLER)),
        ([(F, f"for={CALLER};proto=https;host=gw.example, for={FAR};proto=http;host=inner")],
         ("https", "gw.example", CALLER)),
        ([(F, f"for={CALLER};proto=https"), (F, f"for={FAR};host=inner")],
         ("https", "inner", CALLER)),
        # A far one that overwrites and a near one that adds nothing.
        ([(XF, f"{CALLER}, {FAR}"), (XH, "gw.example")], ("http", "gw.example", CALLER)),
        # Only proxies of ours all the way: the first of them called.
        ([(XF, f"{FAR}, {FAR}")], ("http", None, FAR)),
        ([(XF, "2001:db8:1::5, 10.9.9.9"), (XH, "a.example, b.example, c.example")],
         ("http", "b.example", "2001:db8:1::5")),
    ],
    ids=range(7),
)  # fmt: skip
def test_of_several_values_the_farthest_trusted_proxys_count(
    lines: list[tuple[str, str]], expected: tuple[str, str | None, str]
) -> None:
    """Each proxy adds at the right; from the right we go back as far as we trust."""
    assert outside(*lines) == Outside(*expected)


@pytest.mark.parametrize(
    "lines",
    [
        [(XF, f"{FAR}, {CALLER}"), (XP, "ftp, http"), (XH, "evil.example, gw.example")],
        [(XF, f"10.0.0.7, {CALLER}"), (XP, "https, http"), (XH, "evil.example, gw.example")],
        [(F, f"for={FAR};host=evil.example;proto=https, for={CALLER};host=gw.example;proto=http")],
        [(F, f"for={FAR};host=evil.example"), (F, f"for={CALLER};host=gw.example")],
    ],
    ids=range(4),
)
def test_what_the_caller_wrote_before_the_proxy_is_not_read(lines: list[tuple[str, str]]) -> None:
    """A caller may claim to be a proxy of ours; our proxy wrote who it really was behind that."""
    assert outside(*lines) == Outside("http", "gw.example", CALLER)


@pytest.mark.parametrize(
    "peer", [CALLER, "11.0.0.1", "2001:db8:2::1", "", "unix:", "/run/proxy.sock", "localhost",
             "10.0.0.1.evil.example", "10.0.0.1:80:80", "0x0a000001"],
)  # fmt: skip
def test_nobody_else_is_believed(peer: str) -> None:
    """Anybody can write these headers; over a unix socket nobody can be told apart."""
    lines = [(XF, "1.2.3.4"), (XP, "https"), (XH, "evil.example"), (F, "host=evil.example")]
    assert outside(*lines, peer=peer) == Outside("http", None, peer)


def test_without_trusted_proxies_nothing_is_read() -> None:
    """The default: not even loopback is believed."""
    for peer in ("127.0.0.1", "::1", NEAR):
        found = outside((XH, "evil.example"), peer=peer, trusted_proxies=())
        assert found == Outside("http", None, peer)


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "2001:db8:1::77", "10.255.255.254"])
def test_a_proxy_is_known_by_its_network_in_either_form(peer: str) -> None:
    """A listener for both kinds shows IPv4 callers as IPv6."""
    assert outside((XH, "gw.example"), peer=peer).host == "gw.example"


def test_with_a_public_url_no_proxy_tells_another_host() -> None:
    """The caller's address still comes from the proxy; who is no proxy may have its name signed."""
    lines = [(XF, CALLER), (XP, "http"), (XH, "evil.example")]
    fixed = {"public_url": "https://gw.example:8443"}
    assert outside(*lines, **fixed) == Outside("https", "gw.example:8443", CALLER)
    direct = Outside("https", None, CALLER, public="gw.example:8443")
    assert outside(*lines, peer=CALLER, **fixed) == direct


@pytest.mark.parametrize(
    "lines",
    [
        [(XF, CALLER), (F, f"for={CALLER}")], [(XH, "a"), (F, "proto=https")],
        [(XP, "ftp")], [(XP, "https;")], [(XH, "a b")], [(XH, "a/b")], [(XH, "user@a")],
        [(XH, "a,")], [(XF, ",")], [(XF, f"{CALLER},,{FAR}")], [(XH, "a\tb")], [(XH, "[::1")],
        [(XH, "é")], [(F, "")], [(F, "for")], [(F, "for=")], [(F, "for=a b")], [(F, "for=a;")],
        [(F, "for=a,")], [(F, ",for=a")], [(F, 'for="a')], [(F, "for=a;for=b")],
        [(F, "host=a/b")], [(F, "proto=gopher")], [(F, 'host="a\\')], [(F, "for=[::1]")],
        [(XF, "1.2.3.4," * 300 + "1.2.3.4")], [(F, "for=a," * 500 + "for=a")],
    ],
    ids=range(28),
)  # fmt: skip
def test_what_a_proxy_wrote_and_nobody_can_read_is_refused(lines: list[tuple[str, str]]) -> None:
    """A guess would be a guess about who calls and what was signed."""
    assert refused(*lines) == "forwarded_malformed"


@given(
    name=st.sampled_from([XF, XP, XH, F]),
    value=st.text(max_size=60)
    | st.lists(st.sampled_from(["for=", '"', ",", ";", "a", "=", " ", "\\", "[::1]", "10.0.0.1"]))
    .map("".join),
)  # fmt: skip
def test_whatever_stands_there_is_read_or_refused_without_a_crash(name: str, value: str) -> None:
    """The door must never fail on a header."""
    with suppress(RequestMalformed):
        assert outside((name, value)).scheme in {"http", "https"}


@pytest.mark.parametrize("word", ["proxy.example", "10.0.0.1/8", "300.1.1.1", "*", "unix"])
def test_a_proxy_is_named_by_address_or_network(word: str) -> None:
    """A name could be made to point elsewhere; a network with bits of a host is a typing error."""
    with pytest.raises(ConfigurationError) as faults:
        Settings.apart(trusted_proxies=word)
    assert faults.value.faults[0].startswith("MCP_GATEWAY_TRUSTED_PROXIES: ")


def test_proxies_are_named_by_comma_or_space() -> None:
    """As every list of the settings."""
    named: Iterable[str] = Settings.apart(
        trusted_proxies="10.0.0.0/8, ::1 127.0.0.1"
    ).trusted_proxies
    assert tuple(named) == ("10.0.0.0/8", "::1", "127.0.0.1")
