"""Proof: the REST face answers as its OpenAPI page says, whatever is sent.

    python -m tests.proofs.access.schema --size 500

Schemathesis makes requests of the page, good and bad ones for every operation, as many as
``--size`` of each kind; they go signed to the whole HTTP face of a gateway in this process. Each
answer has a status, a content type and a shape that the page promises, and what the page does not
allow is refused. A violation is printed and makes the exit code 1.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    CheckFunction,
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from mcp_gateway.client.signing import GatewayAuth
from tests.proofs.access.fuzz.stage import HOST, Stage, staged
from tests.support.gateway import HMAC_SECRET, TRADER

Operation = APIOperation[Any, Any, Any, Any]
BASE_URL: Final = f"http://{HOST}"
ALWAYS: Final[tuple[CheckFunction, ...]] = (
    content_type_conformance, response_headers_conformance, response_schema_conformance,
    status_code_conformance,
)  # fmt: skip
MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# The bot that stands in says no now and then: documented for orders, and no failure.
BOT_SAID_NO: Final = 502
SECOND: Final = ("/auth/token",)  # answers 404 where no clients are configured, and reads nothing


@dataclass
class Found:
    """What the requests came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    operations: int = 0

    def __str__(self) -> str:
        told = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        count = self.statuses.total()
        return (
            f"{count} requests of {self.operations} operations, "
            f"{len(self.violations)} violations, {told}"
        )


@dataclass
class Caller:
    """Sends what schemathesis made, signed, and holds the answer against the page."""

    stage: Stage
    portal: BlockingPortal
    client: httpx2.AsyncClient
    found: Found

    def ask(self, case: Case[Any], mode: GenerationMode) -> None:
        """Send one request; raises what is wrong with its answer."""
        made = case.as_transport_kwargs(base_url=BASE_URL)
        # The token is real where schemathesis made up one, and missing where it left it out.
        is_shown = mode is GenerationMode.POSITIVE or "Authorization" in (case.headers or {})
        response = self.portal.call(self._send, _request(made), is_shown)
        self.found.statuses[response.status_code] += 1
        checks = [*ALWAYS]
        if response.status_code != BOT_SAID_NO:
            checks.append(not_a_server_error)
        if mode is GenerationMode.NEGATIVE:
            checks.append(negative_data_rejection)
        case.validate_response(response, checks=checks)

    async def _send(self, request: httpx2.Request, is_shown: bool) -> httpx2.Response:
        await self.stage.resume()
        if is_shown:
            return await self.client.send(request)
        return await self.client.send(request, auth=None)


def _request(made: dict[str, Any]) -> httpx2.Request:
    """Return what schemathesis would have sent with another library."""
    given_there = {name: made.get(name) for name in ("params", "json", "data")}
    body: dict[str, Any] = {}
    if given_there["json"] is not None:
        body["json"] = given_there["json"]
    elif given_there["data"] is not None:
        data = given_there["data"]
        body["data" if isinstance(data, dict) else "content"] = data
    return httpx2.Request(
        made["method"], made["url"], params=given_there["params"], headers=made.get("headers"),
        **body,
    )  # fmt: skip


def prove(folder: Path, examples: int) -> Found:
    """Send so many good and so many bad requests to each operation."""
    found = Found()
    with _opened(folder, found) as caller:
        page = caller.portal.call(caller.client.get, "/openapi.json").json()
        for result in schemathesis.openapi.from_dict(page).get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()
            found.operations += 1
            for mode in MODES:
                _explore(caller, operation, mode, examples)
    return found


def _explore(caller: Caller, operation: Operation, mode: GenerationMode, examples: int) -> None:
    if mode is GenerationMode.NEGATIVE and not _takes_anything(operation):
        return

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def explore(case: Case[Any]) -> None:
        caller.ask(case, mode)

    try:
        explore()
    except BaseExceptionGroup as group:
        caller.found.violations += [
            f"{operation.label} {mode.value}: {one}" for one in group.exceptions
        ]
    except (AssertionError, httpx2.HTTPError) as error:
        caller.found.violations.append(f"{operation.label} {mode.value}: {error}")


def _takes_anything(operation: Operation) -> bool:
    """Tell whether there is something that could be sent wrongly, and is looked at."""
    parts = (operation.query, operation.path_parameters, operation.body)
    return operation.path not in SECOND and any(len(part) for part in parts)


@contextmanager
def _opened(folder: Path, found: Found) -> Iterator[Caller]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(staged(folder)) as s:
        logging.getLogger("httpx2").setLevel(logging.ERROR)
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=s.door), base_url=BASE_URL,
            auth=GatewayAuth(s.token, key=HMAC_SECRET, key_id=TRADER),
        )  # fmt: skip
        yield Caller(s, portal, client, found)
        portal.call(client.aclose)


def report(found: Found) -> int:
    """Print what was found; return the exit code."""
    for one in found.violations:
        print(f"VIOLATION {one}")
    print(f"schema: {found}")
    return 1 if found.violations else 0


def main(given_here: list[str] | None = None) -> int:
    """Prove the whole size; 1 where an answer is not as the page says."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.access.schema")
    parser.add_argument("--size", type=int, default=500, help="requests of each kind")
    asked = parser.parse_args(given_here)
    with tempfile.TemporaryDirectory(prefix="mcp-gateway-schema-") as folder:
        return report(prove(Path(folder), asked.size))


if __name__ == "__main__":
    sys.exit(main())
