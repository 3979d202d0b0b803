"""How long a desktop app waits for the tool list, and how much a model must read of it."""

import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from rs_bpe.bpe import openai

from benchmarks.children import Bench, line_of, listed_tools
from mcp_gateway.domain.operations import SCOPES

ROUNDS = 9
LONGEST_S = 1.2
MOST_BYTES = 10_000
MOST_TOKENS = 2_500


def gateway(bench: Bench) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return command and settings of the stdio server, for a caller who may do everything."""
    settings = {
        "MCP_GATEWAY_DATA_DIR": str(bench.folder / "stdio"),
        "MCP_GATEWAY_SCOPES": " ".join(SCOPES),
    }
    return ("-m", "mcp_gateway", "stdio"), settings


def to_tool_list(bench: Bench, command: tuple[str, ...], settings: dict[str, str]) -> float:
    """Return the seconds from starting a server to its tool list."""
    started = time.perf_counter()
    with bench.started(*command, settings=settings) as child:
        listed_tools(child)
        return time.perf_counter() - started


def to_import(bench: Bench) -> float:
    """Return the seconds until a Python has imported the SDK's server, its end left out."""
    started = time.perf_counter()
    with bench.started("-c", "import mcp.server; print(flush=True)") as child:
        line_of(child)
        return time.perf_counter() - started


def measure_start(bench: Bench) -> dict[str, Any]:
    """Time the gateway and its floors in turn, so that a noisy machine troubles all alike."""
    ours = gateway(bench)
    runs: dict[str, Callable[[], float]] = {
        "gateway": lambda: to_tool_list(bench, *ours),
        "sdk_server": lambda: to_tool_list(bench, ("-m", "benchmarks.floors", "stdio"), {}),
        "import_sdk": lambda: to_import(bench),
    }
    for run in runs.values():
        run()  # compiles the modules, as an installer does
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seconds[name].append(run())
    medians = {name: median(values) for name, values in seconds.items()}
    return {
        "rounds": ROUNDS,
        "median_s": {name: round(value, 3) for name, value in medians.items()},
        "fastest_s": {name: round(min(values), 3) for name, values in seconds.items()},
        "ratio_to_sdk_server": round(medians["gateway"] / medians["sdk_server"], 2),
        "ratio_to_import": round(medians["gateway"] / medians["import_sdk"], 2),
        "load_before": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
        "limit_s": LONGEST_S,
        "within": medians["gateway"] <= LONGEST_S,
    }


def measure_tool_list(bench: Bench) -> dict[str, Any]:
    """Weigh the tool list as a caller with every scope gets it over the wire."""
    command, settings = gateway(bench)
    with bench.started(*command, settings=settings) as child:
        tools = listed_tools(child)
    text = json.dumps(tools, separators=(",", ":"), ensure_ascii=False)
    size, tokens = len(text.encode()), len(openai.o200k_base().encode(text))
    return {
        "tools": len(tools),
        "bytes": size,
        "tokens_o200k": tokens,
        "limit_bytes": MOST_BYTES,
        "limit_tokens": MOST_TOKENS,
        "within": size <= MOST_BYTES and tokens <= MOST_TOKENS,
    }
