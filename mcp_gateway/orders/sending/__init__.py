"""From a request to its first byte: judged, written down, sent."""
