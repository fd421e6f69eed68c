"""Speaks to other machines: health, metrics out, metrics in. Floor 5; `cli` starts it beside the loop."""

from tenfold.console.metrics import PostedMetrics
from tenfold.console.server import Console

__all__ = ["Console", "PostedMetrics"]
