"""Observes, asks the deciders, writes down, acts under the lease; owns the journal. Floor 3: see `loop.loop` for the
journey of a tick.
"""

from tenfold.loop.counterfactual import Counterfactual, Course, EndedBy, WhatIf, counterfactual
from tenfold.loop.desk import Answer, Desk, new_request_id
from tenfold.loop.journal import Entry, Journal, Note
from tenfold.loop.lease import FileLease, LeaseError
from tenfold.loop.loop import End, Loop, Pace, World
from tenfold.loop.reader import DecisionRow, JournalReader, ReceiptRow, RequestRow
from tenfold.loop.replay import Again, Difference, ReplayResult, decide_again, replay
from tenfold.loop.store import JournalError, JournalMissing
from tenfold.loop.tick import Decide, Tick
from tenfold.loop.upkeep import Retention, Tidied, tidy

__all__ = [
    "Again",
    "Answer",
    "Counterfactual",
    "Course",
    "Decide",
    "DecisionRow",
    "Desk",
    "Difference",
    "End",
    "EndedBy",
    "Entry",
    "FileLease",
    "Journal",
    "JournalError",
    "JournalMissing",
    "JournalReader",
    "LeaseError",
    "Loop",
    "Note",
    "Pace",
    "ReceiptRow",
    "ReplayResult",
    "RequestRow",
    "Retention",
    "Tick",
    "Tidied",
    "WhatIf",
    "World",
    "counterfactual",
    "decide_again",
    "new_request_id",
    "replay",
    "tidy",
]
