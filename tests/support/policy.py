"""The policy of gateways before the stand-in for the bot, whose pairs it knows."""

from pathlib import Path

from mcp_gateway.risk.document import load_policy

POLICY_FILE = Path(__file__).with_suffix(".toml")
POLICY = load_policy(POLICY_FILE)
