"""The table of routes: each found by its own path and method, none hidden by another."""

import pytest

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.transports.routes import MCP, Route, find, table

pytestmark = pytest.mark.unit

READ = Route("GET", "/orders/{request_id}", "One", None)
CANCEL = Route("DELETE", "/orders/{request_id}", "Another", None)
DRY_RUN = Route("POST", "/orders/dry-run", "Fixed", None)
TABLE = table([MCP, READ, CANCEL, DRY_RUN])
APPROVE = Route("POST", "/approvals/{order_id}/approve", "Yes", None, guard="token")
DECLINE = Route("POST", "/approvals/{order_id}/decline", "No", None, guard="token")
DECISIONS = table([APPROVE, DECLINE])


def test_two_methods_at_one_path_are_two_routes() -> None:
    """A second method would otherwise take the first one's place in silence."""
    methods, captured = find(TABLE, "/orders/abc")
    assert methods == {"GET": READ, "DELETE": CANCEL}
    assert captured == {"request_id": "abc"}


def test_one_method_at_one_path_stands_once() -> None:
    """Of two, one would never be asked: that is a fault of ours, found at the start."""
    with pytest.raises(ValueError, match="GET /orders"):
        table([READ, Route("GET", READ.path, "Twin", None)])


def test_a_fixed_path_wins_over_a_template() -> None:
    """Whatever stands first in the table."""
    assert find(TABLE, "/orders/dry-run") == ({"POST": DRY_RUN}, {})


@pytest.mark.parametrize(
    "path", ["/", "", "/orders", "/orders/", "/orders/a/b", "/MCP", "/orders/{request_id}/x"]
)
def test_what_fits_nothing_is_nothing(path: str) -> None:
    """No prefix, no other case, no second segment."""
    assert find(TABLE, path) == ({}, {})


def test_a_template_goes_on_behind_its_name() -> None:
    """Each word behind it is another route."""
    assert find(DECISIONS, "/approvals/abc/approve") == ({"POST": APPROVE}, {"order_id": "abc"})
    assert find(DECISIONS, "/approvals/abc/decline") == ({"POST": DECLINE}, {"order_id": "abc"})


@pytest.mark.parametrize(
    "path",
    [
        "/approvals/abc", "/approvals/abc/", "/approvals/abc/approve/", "/approvals//approve",
        "/approvals/approve", "/approvals/a/b/approve", "/approvals/abc/approved",
    ],
)  # fmt: skip
def test_what_lacks_a_part_of_the_template_is_nothing(path: str) -> None:
    """One segment for the name, and every letter of what stands around it."""
    assert find(DECISIONS, path) == ({}, {})


def test_a_template_s_own_text_is_a_value_like_any_other() -> None:
    """Braces in a request are bytes of a caller, not the template's name."""
    assert find(TABLE, "/orders/{request_id}")[1] == {"request_id": "{request_id}"}


def test_a_signature_counts_where_a_token_does_and_bytes_are_sent() -> None:
    """Reads and open routes have nothing that a signature could prove."""
    token = Route("POST", "/x", "Guarded", None, guard="token")
    end = Route("DELETE", "/x", "Guarded", None, guard="token")
    told = [one.signable for one in (MCP, token, end, READ, DRY_RUN)]
    assert told == [True, True, True, False, False]


def test_the_predecessor_s_signature_counts_over_a_body_alone() -> None:
    """Over no body it would be one and the same for every request."""
    order = Route("POST", "/x", "Guarded", None, guard="token", body=OrderRequest)
    open_to_all = Route("POST", "/x", "Open", None, body=OrderRequest)
    end = Route("DELETE", "/x", "Guarded", None, guard="token")
    named = Route("POST", "/x/{order_id}/y", "Named", None, guard="token", body=OrderRequest)
    told = [one.plainly_signable for one in (order, open_to_all, end, MCP, READ, named)]
    assert told == [True, False, False, False, False, False]
