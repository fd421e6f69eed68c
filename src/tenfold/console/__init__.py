"""Speaks to other machines: metrics and health over HTTP. Floor 5."""
