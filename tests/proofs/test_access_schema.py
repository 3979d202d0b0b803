"""The REST face against its own page, with requests of schemathesis: CI's share of them.

The whole size is ``python -m tests.proofs.access.schema --size 500``.
"""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from mcp_gateway.transports.rest import openapi
from mcp_gateway.transports.routes import Route
from tests.proofs.access.schema import prove, report

pytestmark = pytest.mark.integration

EACH = 8  # good and as many bad ones, of every operation
FEW = 2


def test_every_answer_is_as_the_page_says(tmp_path: Path) -> None:
    """Status, content type and shape of each operation; what the page forbids is refused."""
    found = prove(tmp_path, EACH)
    assert found.violations == []
    assert report(found) == 0
    assert found.operations >= 20
    assert {200, 404, 422} <= found.statuses.keys()


def test_a_page_that_promises_less_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof can fail: here the page keeps silent about what is not there."""
    whole = openapi.document

    def narrower(routes: Sequence[Route], base_url: str) -> bytes:
        page = orjson.loads(whole(routes, base_url))
        for item in page["paths"].values():
            for one in item.values():
                one["responses"].pop("404", None)
        return orjson.dumps(page)

    monkeypatch.setattr(openapi, "document", narrower)
    found = prove(tmp_path, FEW)
    assert report(found) == 1
    assert any("404" in one for one in found.violations)
