"""The predecessor's REST endpoints: its names and shapes over the same core and gate."""
