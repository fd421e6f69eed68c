"""Speaks to people; the only place that wires rooms together. Floor 5."""
