"""The page ``docs/performance.md``, written from the results of a run and from nothing else."""

from typing import Any

PAGE = """\
# Performance

`make bench` measures what stands here, writes `benchmarks/results.json` and this page from it.
It needs no network: the bot is a stand-in process that gives a real Freqtrade's recorded
answers. Every number has a floor measured in the same run, for a ratio survives a change of
machine and a second does not.

Run with Python {python} on {cpus} processors ({system}), mcp {mcp}; the machine's load was
{load} for each processor when it began{verdict}.

## The tool list
A model reads it at the start of every conversation; this is what a caller with every scope
gets, as compact JSON.

| | measured | limit |
| --- | --- | --- |
| tools | {tools[tools]} | |
| bytes | {tools[bytes]:,} | {tools[limit_bytes]:,} |
| tokens (o200k_base) | {tools[tokens_o200k]:,} | {tools[limit_tokens]:,} |

## Start over stdio
From starting the process to its first answer to `tools/list`; median of {start[rounds]} starts,
taken in turn, modules compiled before. The store opens behind that answer.

| | median s | fastest s |
| --- | --- | --- |
| `mcp-gateway stdio` (limit {start[limit_s]} s) | {start[median_s][gateway]} | {start[fastest_s][gateway]} |
| the SDK's server with one trivial tool | {start[median_s][sdk_server]} | {start[fastest_s][sdk_server]} |
| a Python that only imports `mcp.server` | {start[median_s][import_sdk]} | {start[fastest_s][import_sdk]} |

That is {start[ratio_to_sdk_server]} times the bare server and {start[ratio_to_import]} times the bare import.

## Memory
Resident memory of `mcp-gateway serve` with its embedded store, under a mix of `get_candles`
(100 and 500 rows, own and resampled timeframe), `get_open_positions` and `tools/list`.

| | MB |
| --- | --- |
| when it listens | {memory[at_start_mb]} |
| after {memory[calls]:,} calls (limit {memory[limit_mb]:.0f}) | {memory[after_calls_mb]} |
| after {further} more | {later} |
| growth over the last {memory[calls]:,} calls | {memory[growth_of_the_last_thousand_mb]} |

## Calls in a second
For orientation: `get_candles` with 100 rows out of the cache, {load_test[connections]} connections, one
server process, the load from the same machine. The floors answer the same {load_test[answer_bytes]:,}
bytes ready-made, without token, gate, quota or cache.

| | calls/s | processor ms a call |
| --- | --- | --- |
| the gateway | {load_test[gateway][calls_per_s]:,} | {load_test[gateway][cpu_ms_per_call]} |
| the SDK's server, one tool | {load_test[sdk_server][calls_per_s]:,} | {load_test[sdk_server][cpu_ms_per_call]} |
| raw ASGI, no SDK | {load_test[raw_asgi][calls_per_s]:,} | {load_test[raw_asgi][cpu_ms_per_call]} |

The gateway serves {load_test[sdk_server][rate_ratio]} of the bare SDK server's rate and {load_test[raw_asgi][rate_ratio]} of raw ASGI's; a call
costs it {load_test[sdk_server][cpu_ratio]} times the SDK server's processor time.

## Orders
{orders[orders]} orders one after the other, in one process through the order service, before a bot that
answers at once (a real one takes some 57 ms for an order): each of four pairs is bought, then sold
whole. The first byte is timed from the call of `create` to the moment at which the bot's process
has read the beginning of the order, on the clock that both share: every check and every commit
before it, the connection, and the waking of the bot are in it.

| | SQLite | PostgreSQL | aim |
| --- | --- | --- | --- |
| orders/s | {sqlite[per_s]} | {postgresql[per_s]} | {orders[least_per_s]:.0f} |
| to the first byte, median ms | {sqlite[first_byte_p50_ms]} | {postgresql[first_byte_p50_ms]} | {orders[limit_first_byte_ms]:.0f} |
| to the first byte, 99th percentile ms | {sqlite[first_byte_p99_ms]} | {postgresql[first_byte_p99_ms]} | |
| commits/s of one small row, same store | {sqlite[commits_per_s]:,} | {postgresql[commits_per_s]:,} | |
| an order's time over one such commit and one bare POST | {sqlite[ratio_to_commit_and_post]} | {postgresql[ratio_to_commit_and_post]} | |

Both engines write to the disk before they confirm; the disk keeps a page in {orders[fsync_ms]} ms. Bare POSTs,
each on a connection of its own: {orders[posts_per_s]:,} in a second.
"""


def page(results: dict[str, Any]) -> str:
    """Return the page of one run."""
    memory = results["memory"]
    later = memory["after_further_thousands_mb"]
    missed = missed_limits(results)
    machine = results["machine"]
    return PAGE.format(
        python=machine["python"],
        cpus=machine["cpu_count"],
        system=machine["system"],
        mcp=machine["mcp"],
        load=results["start"]["load_before"],
        verdict=f". **Over its limit: {', '.join(missed)}**" if missed else "; every limit is kept",
        tools=results["tool_list"],
        start=results["start"],
        memory=memory,
        further=f"{len(later) * memory['calls']:,}",
        later=later[-1],
        load_test=results["throughput"],
        orders=results["orders"],
        sqlite=results["orders"]["sqlite"],
        postgresql=results["orders"]["postgresql"],
    )


def missed_limits(results: dict[str, Any]) -> list[str]:
    """Return the names of the measurements that are over their limit."""
    return [name for name, found in results.items() if not found.get("within", True)]
