"""``make bench``: measure, write ``results.json`` and the page ``docs/performance.md``.

usage: python -m benchmarks

Exit code 1 where a limit is missed.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.calls import measure_memory, measure_throughput
from benchmarks.children import ROOT, Bench
from benchmarks.orders import measure_orders
from benchmarks.report import missed_limits, page
from benchmarks.start import measure_start, measure_tool_list

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"


def machine() -> dict[str, Any]:
    """Tell what was measured on, without naming the machine."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "mcp": version("mcp"),
    }


def measured() -> dict[str, Any]:
    """Run every benchmark, one after the other."""
    results: dict[str, Any] = {"machine": machine()}

    def run(name: str, measure: Callable[..., dict[str, Any]], *given: Any) -> None:
        results[name] = measure(*given)
        print(f"{name}: {json.dumps(results[name])}", flush=True)

    with tempfile.TemporaryDirectory(prefix="mcp-gateway-bench-") as made:
        bench = Bench(Path(made))
        run("start", measure_start, bench)
        run("tool_list", measure_tool_list, bench)
        with bench.server("benchmarks.bot") as (_, bot_url):
            run("memory", measure_memory, bench, bot_url)
            run("throughput", measure_throughput, bench, bot_url)
        run("orders", measure_orders, bench)
    return results


def main() -> int:
    """Measure, write down, and say which limits are missed."""
    if sys.platform != "linux":
        print("The benchmarks read /proc: run them on Linux.", file=sys.stderr)
        return 2
    results = measured()
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")
    missed = missed_limits(results)
    for name in missed:
        print(f"OVER ITS LIMIT: {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
