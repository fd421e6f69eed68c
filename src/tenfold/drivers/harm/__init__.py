"""Harm for drills, to what the drivers of a project run and to the network between its regions. Stage: proof -> world.

No harm outlives the drill: each is in the hands of another process (drivers.harm.watcher, or the router between the regions), which
undoes it when its time is over, and when the drill that holds the other end of a pipe or a connection is gone, however it ended.
"""

from tenfold.drivers.harm.harms import Harms, harm_of
from tenfold.drivers.harm.network import DelayedHarm, WanHarm
from tenfold.drivers.harm.process import ProcessHarm

__all__ = ["DelayedHarm", "Harms", "ProcessHarm", "WanHarm", "harm_of"]
