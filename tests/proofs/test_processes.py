"""The gateway's process ends at every point of an order's way: one effect, a known outcome.

The whole size is ``python -m tests.proofs.processes --runs 280``.
"""

from collections import Counter

import pytest

from tests.proofs.processes.cases import FAULTS, chosen_cases, every_case
from tests.proofs.processes.run import proof
from tests.proofs.stage import ENGINES
from tests.support.failpoints import FAILPOINTS
from tests.support.servers import Server

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

RUNS = 40
LONGEST_S = 30.0  # with the quiet time scaled to one second


async def test_a_process_that_ends_anywhere_loses_no_order_and_doubles_none(
    postgres_server: Server,
) -> None:
    """The bot's books, the ledger, the audit log and the answers agree."""
    async with proof(postgres_server.url) as ready:
        verdicts = await ready.prove_all(chosen_cases())
    assert [str(one.case) for one in verdicts] == [str(case) for case in chosen_cases()]
    assert {str(one.case): one.violations for one in verdicts if one.violations} == {}
    assert max(one.settled_s for one in verdicts) <= LONGEST_S


def test_the_runs_meet_every_failpoint_and_every_fault_on_both_engines() -> None:
    """40 runs stand for all 280, none of which is left out."""
    chosen, every = list(chosen_cases()), list(every_case())
    assert len(chosen) == RUNS
    for cases in (chosen, every):
        for engine in ENGINES:
            met = [case for case in cases if case.engine == engine]
            assert {case.failpoint for case in met} == set(FAILPOINTS)
            assert {case.fault for case in met} == set(FAULTS)
    assert set(chosen) <= set(every)
    few = every[: len(FAILPOINTS)]
    assert {case.failpoint for case in few} == set(FAILPOINTS)
    assert {case.engine for case in few} == set(ENGINES)
    pairs = Counter((case.failpoint, case.fault, case.engine) for case in every)
    assert set(pairs.values()) == {1}
    assert len(pairs) == len(FAILPOINTS) * len(FAULTS) * len(ENGINES) == 280
