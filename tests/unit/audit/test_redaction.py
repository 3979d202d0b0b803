"""What never stands in an audit row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.audit.redaction import REDACTED, storable, word
from mcp_gateway.storage.schema import Document

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "name", ["Authorization", "password", "HMAC_SECRET", "x-signature", "api_key", "access_token"]
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    """Whatever is under it is gone, however deep."""
    assert storable({"deep": [{name: {"a": 1}}]}) == {"deep": [{name: REDACTED}]}


@pytest.mark.parametrize(
    "text", ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "bearer abc.def", "Basic YTpi"]
)
def test_a_secret_is_known_by_its_look(text: str) -> None:
    """A token in a sentence is gone, the sentence stays."""
    told = word(f"before {text} after")
    assert REDACTED in told
    assert text.rsplit(maxsplit=1)[-1] not in told
    assert told.startswith("before ")
    assert told.endswith(" after")


@pytest.mark.parametrize("text", ["a price of 5.0.1", "signature_missing", "BTC/USDT:USDT"])
def test_ordinary_words_stay(text: str) -> None:
    """Codes, pairs and prices are no secrets."""
    assert word(text) == text


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(ANYTHING)
def test_anything_can_be_stored(value: Any) -> None:
    """No detail keeps a row from being written, and cleaning twice changes nothing."""
    cleaned = storable(value)
    text = Document().process_bind_param(cleaned, None)  # type: ignore[arg-type] # no dialect is asked
    assert text is None or (text.encode("ascii") and "\0" not in text)
    assert storable(cleaned) == cleaned
