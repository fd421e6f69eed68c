"""What `chaos run` calls when it plays a drill that was written by `tenfold drill --export`. Stage: the Chaos Toolkit -> harm.

Called in the project's folder, where `tenfold up` runs. Harm is in force until its time is over, until `undo`, or until `chaos` ends.
Without a load beside it, what clients notice is what one request of our own does: `tenfold drill FILE` measures more.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from random import Random

from tenfold.drivers.harm import ProcessHarm
from tenfold.drivers.procs import Processes
from tenfold.drivers.project import Project
from tenfold.effects.faults import Fault, FillDisk, Freeze, Kill
from tenfold.loop import JournalReader
from tenfold.ports import Permanent
from tenfold.proof.drills.aim import aimed
from tenfold.proof.drills.drill import Measure, Strike
from tenfold.proof.drills.stage import Look
from tenfold.proof.drills.steady import measured

WITHIN_S = 2.0
_HARM: dict[Path, ProcessHarm] = {}


def measure(name: str, directory: str = ".") -> float:
    """The value of one measure of the steady state (see `drill.Measure`); 0 for what only a load beside it could tell."""
    look = _look(Path(directory))
    return float(measured(Measure(name), look) or 0.0)


def kill(subject: str, seconds: float = 0.0, directory: str = ".") -> str:
    """SIGKILL an instance, an engine, a pool's instance or a region; kept dead for `seconds`."""
    return _strike(Kill(subject, seconds), directory)


def freeze(subject: str, seconds: float, directory: str = ".") -> str:
    """SIGSTOP the same, for `seconds`."""
    return _strike(Freeze(subject, seconds), directory)


def fill_disk(subject: str, seconds: float, directory: str = ".") -> str:
    """Fill the disk of a store that has a file system of its own, for `seconds`."""
    return _strike(FillDisk(subject, seconds), directory)


def slow(subject: str, extra_ms: float, seconds: float) -> str:
    """Only `tenfold drill` can: it holds the network between the regions."""
    raise Permanent(f"the network of {subject} is slowed by {extra_ms:g} ms for {seconds:g} s by `tenfold drill FILE`")


def lose(region: str, ratio: float, seconds: float) -> str:
    """Only `tenfold drill` can: it holds the network between the regions."""
    raise Permanent(f"{region} loses {ratio:.0%} of its packets for {seconds:g} s by `tenfold drill FILE`")


def partition(region: str, seconds: float) -> str:
    """Only `tenfold drill` can: it holds the network between the regions."""
    raise Permanent(f"{region} is cut off for {seconds:g} s by `tenfold drill FILE`")


def surge(times: float) -> str:
    """Only `tenfold drill` can: it has the load."""
    raise Permanent(f"{times:g} times the load is sent by `tenfold drill FILE`")


def ship(sickness: str) -> str:
    """Only `tenfold drill` can: it has the release."""
    raise Permanent(f"a release that is broken ({sickness}) is shipped by `tenfold drill FILE`")


def undo(directory: str = ".") -> str:
    """End every harm that is still in force."""
    harm = _HARM.pop(Path(directory).resolve(), None)
    if harm is not None:
        asyncio.run(harm.undo())
    return "nothing is harmed any more"


def _strike(fault: Fault, directory: str) -> str:
    root = Path(directory).resolve()
    act = aimed(Strike(fault), _look(root), Random())
    assert isinstance(act, Strike), "a strike stays one"
    harm = _HARM.setdefault(root, ProcessHarm(Processes(Project(root, root.name))))
    asyncio.run(harm.inflict(act.fault))
    return json.dumps({"struck": str(act.fault)})


def _look(root: Path) -> Look:
    project = Project(root.resolve(), root.resolve().name)
    with JournalReader(project.journal) as reader:
        tick = reader.latest()
        model = reader.model(tick.model) if tick is not None else None
    if tick is None or model is None:
        raise Permanent("nothing has run here yet: start this project with `tenfold up`")
    if model.environment.is_production:
        raise Permanent("this is production, where people are: `tenfold drill FILE --in-production --i-know`")
    kind = "entry" if model.is_spread else "gateway"
    address = next((e.address for e in tick.snapshot.engines.values() if e.kind == kind and e.address), "")
    status = _status(f"http://{address}/") if address else 0
    return Look(time.time(), model, tick.snapshot, tick.memory, tick.epoch, tick.at, edge_status=status)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
