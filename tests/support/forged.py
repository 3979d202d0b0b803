"""Tokens that must be refused everywhere: of the one box, forged, borrowed, confused.

Those of other issuers stand in ``forged_issued``.
"""

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mcp_gateway.access.tokens.compact import LONGEST_TOKEN_CHARS
from mcp_gateway.access.tokens.identity import LEEWAY_S
from tests.support.tokens import AUDIENCE, CLAIMS, HEADER, ISSUER, NOW, b64, compact, forge

LONGEST_S = 3600


def raw_claims(**claims: Any) -> bytes:
    return json.dumps(CLAIMS | claims).encode()


def raw_header(**fields: Any) -> bytes:
    return json.dumps(HEADER | fields).encode()


def twice(raw: bytes, name: str, value: str) -> bytes:
    """Put a second member of the same name before the end of an object."""
    return raw[:-1] + f', "{name}": {value}}}'.encode()


def unsigned(algorithm: str) -> str:
    return f"{b64(raw_header(alg=algorithm))}.{b64(raw_claims())}."


def signed_by_rsa() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signing_input = f"{b64(raw_header(alg='RS256'))}.{b64(raw_claims())}"
    signature = key.sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signing_input}.{b64(signature)}"


def hmac_by_a_public_key() -> str:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return forge(secret=pem)


def swapped_claims() -> str:
    head, _, tail = forge().split(".")
    return f"{head}.{b64(raw_claims(sub='treasurer'))}.{tail}"


def nested(raw: bytes) -> bytes:
    depth = 2000
    return raw[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"


# Each varies a genuine token of the one box in one thing.
OF_THE_BOX: dict[str, Callable[[], str]] = {
    "not a token": lambda: "garbage",
    "empty segments": lambda: "..",
    "two segments": lambda: forge().rpartition(".")[0],
    "four segments": lambda: forge() + ".AAAA",
    "five segments, as an encrypted token has": lambda: "a.b.c.d.e",
    "no signature": lambda: forge().rpartition(".")[0] + ".",
    "cut signature": lambda: forge()[:-8],
    "signature of zeros": lambda: forge().rpartition(".")[0] + "." + b64(bytes(32)),
    "another key": lambda: forge(secret=b"x" * 40),
    "the key of a public certificate": hmac_by_a_public_key,
    "claims exchanged after signing": swapped_claims,
    "alg none": lambda: unsigned("none"),
    "alg None in capitals": lambda: unsigned("NONE"),
    "alg none, yet signed": lambda: forge({"alg": "none"}),
    "alg HS512": lambda: forge({"alg": "HS512"}, algorithm="sha512"),
    "alg HS384": lambda: forge({"alg": "HS384"}, algorithm="sha384"),
    "alg HS512 in the header over an HS256 signature": lambda: forge({"alg": "HS512"}),
    "alg RS256 by the caller's own key": signed_by_rsa,
    "alg hs256 in small letters": lambda: forge({"alg": "hs256"}),
    "alg missing": lambda: compact(b'{"typ":"JWT"}', raw_claims()),
    "alg of another type": lambda: forge({"alg": ["HS256"]}),
    "alg twice": lambda: compact(twice(raw_header(alg="none"), "alg", '"HS256"'), raw_claims()),
    "critical extension": lambda: forge({"crit": ["exp"], "exp": NOW}),
    "empty crit": lambda: forge({"crit": []}),
    "unencoded payload": lambda: forge({"b64": False, "crit": ["b64"]}),
    "unencoded payload without crit": lambda: forge({"b64": False}),
    "encoded payload declared critical": lambda: forge({"b64": True, "crit": ["b64"]}),
    "an ID token's type": lambda: forge({"typ": "id+jwt"}),
    "a logout token's type": lambda: forge({"typ": "logout+jwt"}),
    "typ of another type": lambda: forge({"typ": 1}),
    "header is a list": lambda: compact(b'["HS256"]', raw_claims()),
    "header nested deeply": lambda: compact(nested(raw_header()), raw_claims()),
    "header is not UTF-8": lambda: compact(b'{"alg":"HS256","x":"\xff"}', raw_claims()),
    "payload is a list": lambda: compact(raw_header(), b"[]"),
    "payload is not JSON": lambda: compact(raw_header(), b"sub=me"),
    "payload is empty": lambda: compact(raw_header(), b""),
    "payload nested deeply": lambda: compact(raw_header(), nested(raw_claims())),
    "payload holds NaN": lambda: compact(raw_header(), raw_claims(x=float("nan"))),
    "sub twice": lambda: compact(raw_header(), twice(raw_claims(), "sub", '"treasurer"')),
    "scope twice": lambda: compact(raw_header(), twice(raw_claims(), "scope", '"ops:halt"')),
    "exp twice": lambda: compact(raw_header(), twice(raw_claims(), "exp", str(NOW + 60))),
    "a nested duplicate": lambda: compact(raw_header(), twice(raw_claims(), "x", '{"a":1,"a":2}')),
    "sub missing": lambda: forge(without=("sub",)),
    "sub null": lambda: forge(sub=None),
    "sub empty": lambda: forge(sub=""),
    "sub a number": lambda: forge(sub=7),
    "sub too long": lambda: forge(sub="a" * 129),
    "sub with a line break": lambda: forge(sub="agent\nadmin"),
    "sub with a NUL": lambda: forge(sub="agent\0"),
    "sub padded": lambda: forge(sub=" agent"),
    "iss missing": lambda: forge(without=("iss",)),
    "iss another": lambda: forge(iss="https://elsewhere.example"),
    "iss a list": lambda: forge(iss=[ISSUER]),
    "iss in capitals": lambda: forge(iss=ISSUER.upper()),
    "iss of the local caller": lambda: forge(iss="local"),
    "aud missing": lambda: forge(without=("aud",)),
    "aud another": lambda: forge(aud="other-server"),
    "aud begins like ours": lambda: forge(aud=AUDIENCE + ".evil.example"),
    "aud empty list": lambda: forge(aud=[]),
    "aud a list of others": lambda: forge(aud=["other-server", "third"]),
    "aud an object": lambda: forge(aud={AUDIENCE: True}),
    "aud a mixed list": lambda: forge(aud=[AUDIENCE, 1]),
    "exp missing": lambda: forge(without=("exp",)),
    "exp text": lambda: forge(exp=str(NOW + 600)),
    "exp true": lambda: forge(exp=True),
    "exp null": lambda: forge(exp=None),
    "exp infinite": lambda: compact(
        raw_header(), raw_claims().replace(str(NOW + 600).encode(), b"1e999")
    ),
    "exp beyond any calendar": lambda: forge(exp=10**30),
    "exp with ten thousand digits": lambda: compact(
        raw_header(), raw_claims().replace(str(NOW + 600).encode(), b"9" * 5000)
    ),
    "exp negative": lambda: forge(exp=-1),
    "exp before iat": lambda: forge(iat=NOW, exp=NOW - 1),
    "longer-lived than allowed": lambda: forge(exp=NOW + LONGEST_S + 1),
    "long-lived by an early iat": lambda: forge(iat=NOW - LONGEST_S, exp=NOW + 1),
    "iat missing": lambda: forge(without=("iat",)),
    "iat text": lambda: forge(iat="now"),
    "iat in the future": lambda: forge(iat=NOW + LEEWAY_S + 1, exp=NOW + 600),
    "nbf in the future": lambda: forge(nbf=NOW + LEEWAY_S + 1),
    "nbf true": lambda: forge(nbf=True),
    "nbf negative": lambda: forge(nbf=-1),
    "nbf text": lambda: forge(nbf="soon"),
    "nbf null": lambda: forge(nbf=None),
    "scope a list": lambda: forge(scope=["orders:create"]),
    "scope a number": lambda: forge(scope=1),
    "act_for text": lambda: forge(act_for="treasurer"),
    "act_for a list of numbers": lambda: forge(act_for=[1]),
    "act_for an object": lambda: forge(act_for={"treasurer": True}),
    "act_for endless": lambda: forge(act_for=[f"a{n}" for n in range(65)]),
    "jti a number": lambda: forge(jti=1),
    "larger than 8 KiB": lambda: forge(x="a" * LONGEST_TOKEN_CHARS),
    "white space before": lambda: " " + forge(),
    "a line break within": lambda: forge().replace(".", ".\n", 1),
    "plain base64 alphabet": lambda: forge(sub="???>>>").replace("-", "+").replace("_", "/") + "/",
    "letters beyond ASCII": lambda: forge() + "é",
    "a lone surrogate": lambda: forge() + "\ud800",
    "padding after the signature": lambda: forge() + "=",
    "padding after the header": lambda: forge().replace(".", "=.", 1),
    "a point after the signature": lambda: forge() + ".",
    "a byte more": lambda: forge() + "A",
    "spare bits of the last character": lambda: forge()[:-1] + chr(ord(forge()[-1]) + 1),
    "empty first part": lambda: forge()[forge().index(".") :],
    "the same twice": lambda: f"{forge()},{forge()}",
    "alg nOnE": lambda: unsigned("nOnE"),
    "alg none with a signature of nothing": lambda: unsigned("none") + "AA",
    "alg empty": lambda: forge({"alg": ""}),
    "alg in full-width letters": lambda: forge({"alg": "\uff28\uff33256"}),
    "alg null": lambda: forge({"alg": None}),
    "signed with the empty key": lambda: forge(secret=b""),
    "signed with a key of one NUL": lambda: forge(secret=b"\0"),
    "kid that leads to an empty file": lambda: forge({"kid": "../../../../dev/null"}, secret=b""),
    "kid a number": lambda: forge({"kid": 1}),
    "kid null": lambda: forge({"kid": None}),
    "kid empty": lambda: forge({"kid": ""}),
    "kid endless": lambda: forge({"kid": "k" * 257}),
    "header in UTF-16": lambda: compact(raw_header().decode().encode("utf-16"), raw_claims()),
    "header after a byte order mark": lambda: compact(b"\xef\xbb\xbf" + raw_header(), raw_claims()),
    "claims in UTF-16": lambda: compact(raw_header(), raw_claims().decode().encode("utf-16")),
    "claims before more": lambda: compact(raw_header(), raw_claims() + b"{}"),
    "sub twice, once escaped": lambda: compact(
        raw_header(), twice(raw_claims(), "s\\u0075b", '"treasurer"')
    ),
    "a token within": lambda: compact(raw_header(cty="JWT"), forge().encode()),
    "a token within, as text": lambda: compact(raw_header(), json.dumps(forge()).encode()),
    "detached": lambda: "..".join(forge().split(".")[::2]),
    "as JSON": lambda: json.dumps(
        dict(zip(("protected", "payload", "signature"), forge().split("."), strict=True))
    ),
    "payload holds Infinity": lambda: compact(raw_header(), raw_claims(x=float("inf"))),
    "sub a list": lambda: forge(sub=["signal-agent"]),
    "sub true": lambda: forge(sub=True),
    "sub with a right-to-left mark": lambda: forge(sub="agent\u202etxt"),
    "sub with a zero-width space": lambda: forge(sub="signal\u200b-agent"),
    "sub with a lone surrogate": lambda: forge(sub="agent\ud800"),
    "iss with a look-alike": lambda: forge(iss=ISSUER.replace("a", "\u0430")),
    "iss padded": lambda: forge(iss=ISSUER + " "),
    "iss null": lambda: forge(iss=None),
    "iss an object": lambda: forge(iss={ISSUER: True}),
    "aud with a look-alike": lambda: forge(aud=AUDIENCE.replace("a", "\u0430")),
    "aud with a zero-width space": lambda: forge(aud=AUDIENCE + "\u200b"),
    "aud in capitals": lambda: forge(aud=AUDIENCE.upper()),
    "aud null": lambda: forge(aud=None),
    "aud within a list within": lambda: forge(aud=[[AUDIENCE]]),
    "aud many in one text": lambda: forge(aud=f"other,{AUDIENCE}"),
    "exp a list": lambda: forge(exp=[NOW + 600]),
    "iat an object": lambda: forge(iat={"now": NOW}),
    "iat true": lambda: forge(iat=True),
    "iat negative": lambda: forge(iat=-1),
    "scope null": lambda: forge(scope=None),
    "scope an object": lambda: forge(scope={"orders:create": True}),
    "act_for null": lambda: forge(act_for=None),
    "act_for with an empty name": lambda: forge(act_for=[""]),
    "jti a list": lambda: forge(jti=["t-1"]),
    "jti empty": lambda: forge(jti=""),
    "jti endless": lambda: forge(jti="t" * 129),
}
