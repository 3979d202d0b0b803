"""What people are told of halts, of what may still fill, and of closing everything."""

from typing import Any, Final

AGAIN: Final = 'mcp-gateway halt flatten --confirmation {} --reason "…"'


def said(told: dict[str, Any]) -> str:
    """Say what a halt reached, and what it does not call back."""
    lines = [_heard(told)] if told["heard"] else [_not_heard(told)]
    if not told["gateway_was_here"] and not told["stored"]:
        lines.append("No gateway has been in this folder yet: this stops nobody that runs now.\n"
                     "Check MCP_GATEWAY_DATA_DIR.")  # fmt: skip
    entries = told["open_entries"]
    if entries is None:
        lines.append("Which entries may still fill can't be told now: `mcp-gateway orders list`.")
    lines += [_may_still_fill(one) for one in entries or ()]
    return "\n".join(lines)


def _may_still_fill(one: dict[str, Any]) -> str:
    filled = f"{one['filled_amount']:g} of {one['requested_amount']:g} {one['pair']}"
    return (
        f"May still fill: {one['state']} entry of {one['agent']}, {filled}. To take it back:\n"
        f'    mcp-gateway orders cancel {one["order_id"]} --reason "…"'
    )


def _heard(told: dict[str, Any]) -> str:
    line = f"Halted: {halt_line(told)}"
    if told["stored"]:
        return line
    return (
        f"{line}\nThe store does not answer: this gateway keeps it by itself until it does, "
        "and others do not know of it yet."
    )


def _not_heard(told: dict[str, Any]) -> str:
    silent = told["gateway"] != "gateway_not_running"
    who = "The gateway here does not answer" if silent else "No gateway answered"
    file = told.get("file")
    places = [f"the file {file}"] if file else []
    places += ["the store"] if told["stored"] else []
    line = f"{who}; written to {' and '.join(places)} only."
    if told["stored"]:
        return f"{line}\nGateways on that store obey it: {halt_line(told)}"
    return (
        f"{line}\nA gateway that uses this folder sends no entry while the file is there, and writes\n"
        "the halt down. `mcp-gateway resume` ends it; removing the file alone does not, once a\n"
        "gateway has seen it."
    )


def halt_line(one: dict[str, Any]) -> str:
    """Return a halt in one line."""
    what = {"all": "everything"}.get(one["scope"], f"{one['scope']} {one['name']}")
    number = "-" if one["id"] is None else one["id"]
    return f"{number:>3}  {what}  {one['code']}  {one['at']}  {one['by']}: {one['reason']}"


def planned(plan: dict[str, Any]) -> str:
    """Return what would be closed, one line each."""
    lines = [f"sell    {one['amount']} {one['pair']} of {one['agent']}" for one in plan["sells"]]
    lines += [f"cancel  {one['amount']} {one['pair']} of {one['agent']}" for one in plan["cancels"]]
    lines += [f"wait    {one['pair']}: order {one['order_id']} is unsettled"
              for one in plan["unsettled"]]  # fmt: skip
    lines += [f"leave   {one['amount']} {one['pair']}: trade {one['trade_id']} is not this gateway's"
              for one in plan["others"]]  # fmt: skip
    return "\n".join(lines or ["There is nothing open."])


def flattened(told: dict[str, Any]) -> str:
    """Say what became of each order, what is left, and that nothing is bought now."""
    lines = [_carried_out(one) for one in told["orders"]]
    lines.append("Left:" if told["left"]["others"] or not told["flat"] else "Nothing is left.")
    if told["left"]["others"] or not told["flat"]:
        lines.append(planned(told["left"]))
    if any(one["code"] == "bot_not_running" for one in told["orders"]):
        lines.append("A stopped bot takes no sells: start it paused first, by its /pause.")
    if not told["flat"]:
        lines.append(f"To go on, selling nothing twice: {AGAIN.format(told['confirmation'])}")
    number = (told["halt"] or {}).get("id")
    which = "--all" if number is None else str(number)
    lines.append(f'Everything is halted now. To buy again: mcp-gateway resume {which} --reason "…"')
    return "\n".join(lines)


def _carried_out(one: dict[str, Any]) -> str:
    amount = f"{one['amount']} " if one.get("amount") else ""
    filled = ""
    if one.get("average_price") is not None:
        filled = f", {one['filled_amount']} at {one['average_price']}"
    code = f" ({one['code']})" if one["code"] else ""
    return (
        f"{one['what']:<6}  {amount}{one['pair']} of {one['agent']}: {one['outcome']}{filled}{code}"
    )
