"""Envoy, the edge of each region: run, led from table to table, watched, asked about requests. Stage: effects -> world -> facts."""

from tenfold.drivers.envoy.driver import EnvoyDriver, find_request

__all__ = ["EnvoyDriver", "find_request"]
