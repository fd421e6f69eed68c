"""Envoy, the edge: a gateway in each region, and the global entry before them. Run, led from table to table, watched, asked
about requests. Stage: effects -> world -> facts."""

from tenfold.drivers.envoy.driver import EnvoyDriver
from tenfold.drivers.envoy.entry import EntryDriver
from tenfold.drivers.envoy.links import LinkProbes
from tenfold.drivers.envoy.requests import find_request

__all__ = ["EntryDriver", "EnvoyDriver", "LinkProbes", "find_request"]
