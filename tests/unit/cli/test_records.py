"""How commands reach the records: what a running gateway answers, and what that costs it."""

import subprocess
import sys

import pytest

from mcp_gateway.cli import records
from mcp_gateway.cli.policy_verbs import POLICY_VERBS
from mcp_gateway.orders.approvals import verbs as approval_records
from mcp_gateway.orders.records import VERBS

pytestmark = pytest.mark.unit


def test_a_running_gateway_answers_every_verb() -> None:
    """The names stand apart from their functions, which cost the SQL libraries."""
    assert (*approval_records.VERBS, *VERBS) == records.VERBS
    assert set(records.control_verbs()) >= {*records.VERBS, *POLICY_VERBS}


def test_a_desktop_app_s_tool_list_does_not_wait_for_the_sql_libraries() -> None:
    """`mcp-gateway stdio` keeps a control socket from its start; the store opens behind it."""
    code = "import sys; from mcp_gateway.cli.records import control_verbs; import mcp_gateway.transports.stdio; control_verbs(); print([m for m in ('sqlalchemy', 'alembic') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
