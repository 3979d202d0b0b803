"""Trade before a real Freqtrade through kills and faults, then compare all the books.

usage: python -m tests.proofs.campaign [--orders N] [--agents N] [--seed N] [--postgres]
       [--folder DIR] [--json FILE]

The seed repeats what agents and chaos decide; when exactly a kill falls, no seed repeats.
Exit code 1 on any violation.
"""

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import anyio

from tests.proofs.campaign.report import FEWEST_PLACED, document, table
from tests.proofs.campaign.run import Plan, campaign, fresh_seed


def main() -> int:
    """Run one campaign and tell what it came to."""
    given = _arguments()
    plan = Plan(
        orders=given.orders, agents=given.agents, seed=given.seed, postgres=given.postgres
    )  # fmt: skip
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mcp-gateway-campaign-") as made:
        result = anyio.run(partial(campaign, plan, given.folder or Path(made)))
    told = document(result)
    print(table(told), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(told, indent=2) + "\n")
    if told["placed_share"] < FEWEST_PLACED:
        print(f"fewer than {FEWEST_PLACED:.0%} of the orders were placed", file=sys.stderr)
        return 1
    return 1 if told["violations"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.campaign")
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--seed", type=int, default=fresh_seed())
    parser.add_argument("--postgres", action="store_true", help="the ledger on a PostgreSQL")
    parser.add_argument("--folder", type=Path, help="keep databases and logs here")
    parser.add_argument("--json", type=Path, help="write the whole result here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
