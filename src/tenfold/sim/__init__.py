"""A false world on virtual time behind the same ports as the real engines. Floor 3; everything in it follows from one seed.

`World` is what is (instances, engines, gateways, traffic), `Drivers` are its ports for one life of a control plane, `Simulation` lets a
brain run over it at full speed, `Trial` is one seed of trouble over several regions, and `run_virtual` lets any asyncio program (the
real loop) live on a `VirtualClock`. `policy` gives a brain another scaler, to compare with.
"""

from tenfold.sim.backtest import Backtest, backtest
from tenfold.sim.behaviour import Behaviour, Breakage
from tenfold.sim.clock import VirtualClock, run_virtual
from tenfold.sim.faults import (
    ClockJump,
    ControlCrash,
    FaultSchedule,
    ObserverOutage,
    ObserverStale,
    OrdersDoubled,
    ReceiptsLate,
    ReceiptsLost,
    RoutesRefused,
    WorldFault,
)
from tenfold.sim.policies import POLICIES, Truth, policy
from tenfold.sim.ports import Drivers
from tenfold.sim.rates import Rate, constant, day, from_trace, steps
from tenfold.sim.simulation import Brain, Simulation
from tenfold.sim.trial import Broken, Trial
from tenfold.sim.world import World

__all__ = [
    "POLICIES",
    "Backtest",
    "Behaviour",
    "Brain",
    "Breakage",
    "Broken",
    "ClockJump",
    "ControlCrash",
    "Drivers",
    "FaultSchedule",
    "ObserverOutage",
    "ObserverStale",
    "OrdersDoubled",
    "Rate",
    "ReceiptsLate",
    "ReceiptsLost",
    "RoutesRefused",
    "Simulation",
    "Trial",
    "Truth",
    "VirtualClock",
    "World",
    "WorldFault",
    "backtest",
    "constant",
    "day",
    "from_trace",
    "policy",
    "run_virtual",
    "steps",
]
