"""MCP Gateway: the Model Context Protocol server between LLM trading agents and Freqtrade."""

__version__ = "0.1.0"
