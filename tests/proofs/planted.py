"""Wrong variants of the real code, each of which a proof must find: ``python -m tests.proofs.planted``.

A variant is a change to the source of the package, made in a copy of it; the proof runs over
the copy in a process of its own. A proof that finds nothing wrong there is worth nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.proofs.contract_bugs import CONTRACT_BUGS
from tests.proofs.limits_bugs import LIMIT_BUGS
from tests.proofs.model_bugs import MODEL_BUGS
from tests.proofs.variants import Change, Variant

ROOT: Final = Path(__file__).parents[2]
SIMULATION: Final = ("-m", "tests.proofs.simulation", "--deviations", "0", "--to-the-first")
SEEDS: Final = 30_000
LONGEST_S: Final = 240
FOUND: Final = 1
CRASHED: Final = 70  # EX_SOFTWARE of sysexits(3)
# Python ends with 1 after an exception that nobody caught, which is a proof's word for a find.
# It imports this module at its start where it finds one.
APART: Final = f"""
import sys

def crashed(kind, error, trace):
    sys.__excepthook__(kind, error, trace)
    raise SystemExit({CRASHED})

sys.excepthook = crashed
"""


def _bug(name: str, file: str, old: str, new: str) -> Variant:
    change = Change(f"mcp_gateway/orders/{file}", old, new)
    return Variant(name, (change,), (*SIMULATION, "--seeds", str(SEEDS)))


SIMULATION_BUGS: Final = (
    _bug(
        "an order without an answer is sent again", "sending/submission.py",
        "            answer, execution = await ask()\n",
        "            answer, execution = await ask()\n"
        "            if isinstance(answer, Unanswered):\n"
        "                answer, execution = await ask()\n",
    ),
    _bug(
        "the order leaves before it is written down", "sending/submission.py",
        "        try:\n            moved = await self._weighed(record, decide, facts, seen, origin, failed)\n",
        "        if order.side == \"buy\" and facts.price is not None:\n"
        "            early = Entry(record.pair, record.amount * facts.price.value, \"market\", None, record.tag)\n"
        "            await self.bot.enter(early)\n"
        "        try:\n            moved = await self._weighed(record, decide, facts, seen, origin, failed)\n",
    ),
    _bug(
        "a commit that failed is taken for made", "sending/submission.py",
        "        except PlaceTaken:\n            return await self.deny(record, origin, \"bot_busy\")\n",
        "        except PlaceTaken:\n            return await self.deny(record, origin, \"bot_busy\")\n"
        "        except GatewayError:\n"
        "            blind = Entry(record.pair, record.amount * 100, \"market\", None, record.tag)\n"
        "            await self.bot.enter(blind)\n            raise\n",
    ),
    _bug(
        "a store that fails behind the order reads like nothing was done", "sending/submission.py",
        "            raise answers.unknown(sent) from error\n", "            raise\n",
    ),
    _bug(
        "the first refusal is believed, whatever was done", "sending/submission.py",
        "        refused = isinstance(answer, Refused) and answer.code in DOUBTFUL_REFUSALS\n",
        "        refused = False\n",
    ),
    _bug(
        "what others have reserved is not looked at", "sending/submission.py",
        "            verdict = judge(asked, facts, self.halts.with_own(standing))\n",
        "            verdict = judge(asked, facts, NOTHING_STANDS)\n",
    ),
    _bug(
        "no answer is taken for a no", "book/protocol.py",
        "    return Event.REFUSE if isinstance(answer, Refused) else Event.LOSE\n",
        "    return Event.REFUSE\n",
    ),
    _bug(
        "a lost connection is taken for one that was never made", "book/protocol.py",
        "    if isinstance(answer, NotSent):\n        return Event.NOT_SENT\n",
        "    if not isinstance(answer, Refused):\n        return Event.NOT_SENT\n",
    ),
    _bug(
        "a crash behind `sent` is taken for one before it", "book/protocol.py",
        "(_S.SENT, _E.INTERRUPT): _S.UNKNOWN", "(_S.SENT, _E.INTERRUPT): _S.DENIED",
    ),
    _bug(
        "an unknown order holds neither place nor money", "book/protocol.py",
        "IN_FLIGHT: Final = frozenset({State.SENT, State.UNKNOWN})\n",
        "IN_FLIGHT: Final = frozenset({State.SENT})\n",
    ),
    _bug(
        "any trade is taken for ours", "book/marks.py",
        "            if order.side == \"buy\" and order.tag == tag:\n",
        "            if order.side == \"buy\":\n",
    ),
    _bug(
        "absence counts at once", "evidence/absence.py",
        "    if not (restarted or answered_s >= patience.quiet_s):\n",
        "    if answered_s >= 0:\n        return watch, True\n"
        "    if not restarted:\n",
    ),
    _bug(
        "time passes for a bot that is frozen", "evidence/absence.py",
        "    answered_s = watch.answered_s + min(gap, patience.gap_s)\n",
        "    answered_s = look.began - watch.since\n",
    ),
    _bug(
        "a reload is taken for a restart", "settling/reconcile.py",
        "        restarted = watch.was_down and _restarted(\n",
        "        restarted = _restarted(\n",
    ),
    _bug(
        "every bot is taken for restarted", "settling/reconcile.py",
        "    return health.started_at.isoformat() != before and 0 <= uptime_s < since_s\n",
        "    return True\n",
    ),
    _bug(
        "any other run of the bot is taken for a later one", "settling/reconcile.py",
        "    return health.started_at.isoformat() != before and 0 <= uptime_s < since_s\n",
        "    return health.started_at.isoformat() != before\n",
    ),
    _bug(
        "waits are counted on the wall clock", "settling/reconcile.py",
        "        began = self.clock.monotonic()\n",
        "        began = self.clock.now().timestamp() - 1763460000\n",
    ),
    _bug(
        "an unknown order is forgotten", "settling/reconcile.py",
        "        unknown = await self.ledger.in_states(self.bot_name, {State.UNKNOWN})\n",
        "        unknown = (await self.ledger.in_states(self.bot_name, {State.UNKNOWN}))[:0]\n",
    ),
)  # fmt: skip
VARIANTS: Final = (*SIMULATION_BUGS, *LIMIT_BUGS, *MODEL_BUGS, *CONTRACT_BUGS)


@dataclass(frozen=True, slots=True)
class Hunt:
    """Whether a variant was found, by which word, in how many seconds."""

    variant: Variant
    found: bool
    told: str
    seconds: float


def hunt(variant: Variant) -> Hunt:
    """Run the variant's proof over a copy of the package with the variant in it.

    Raises:
        AssertionError: the source has moved on, so that the variant means nothing any more.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "mcp_gateway", copy / "mcp_gateway")
        shutil.copytree(ROOT / "tests", copy / "tests")
        shutil.copy(ROOT / "pyproject.toml", copy)
        (copy / "sitecustomize.py").write_text(APART, "utf-8")
        for change in variant.changes:
            _make(change, copy)
        done = subprocess.run(
            [sys.executable, *variant.proof], cwd=copy, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(copy)}, timeout=LONGEST_S, check=False,
        )  # fmt: skip
    said = done.stdout if done.returncode == FOUND else f"{done.stdout}\n{done.stderr}"
    told = (said.strip().splitlines() or ["nothing was said"])[-1].strip()
    # A proof says what it found; pytest counts a test that could not even run as an error.
    found = done.returncode == FOUND and bool(done.stdout.strip()) and " error" not in told
    return Hunt(variant, found, told, time.monotonic() - started)


def _make(change: Change, copy: Path) -> None:
    wrong = copy / change.file
    source = wrong.read_text("utf-8")
    if source.count(change.old) != 1:
        raise AssertionError(f"{change.file} has no (or more than one): {change.old!r}")
    wrong.write_text(source.replace(change.old, change.new), "utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Hunt every variant (or those whose name has a word in it) and tell which were found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="")
    args = parser.parse_args(argv)
    hunts = [hunt(variant) for variant in VARIANTS if args.word in variant.name]
    for one in hunts:
        word = "found" if one.found else "NOT FOUND"
        sys.stdout.write(
            f"{word:10} {one.seconds:5.1f} s  {one.variant.name}\n  {one.told[:200]}\n"
        )
    found = sum(one.found for one in hunts)
    sys.stdout.write(f"{found} of {len(hunts)} planted bugs found\n")
    return int(found != len(hunts))


if __name__ == "__main__":
    sys.exit(main())
