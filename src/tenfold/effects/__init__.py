"""Everything that can be done, as frozen data. Floor 1: deciders emit effects, drivers carry them out,
receipts tell how it went."""

from tenfold.effects.decision import Decision, Outcome, Plan, Receipt, Rejection
from tenfold.effects.effect import (
    AnswerRequest,
    Effect,
    Notify,
    Order,
    Promote,
    PublishEntry,
    PublishRoutes,
    RemoveRelease,
    RunTask,
    StartEngine,
    StartInstance,
    StopEngine,
    StopInstance,
    StopTask,
)
from tenfold.effects.operation import Operation, Step, StepState

__all__ = [
    "AnswerRequest",
    "Decision",
    "Effect",
    "Notify",
    "Operation",
    "Order",
    "Outcome",
    "Plan",
    "Promote",
    "PublishEntry",
    "PublishRoutes",
    "Receipt",
    "Rejection",
    "RemoveRelease",
    "RunTask",
    "StartEngine",
    "StartInstance",
    "Step",
    "StepState",
    "StopEngine",
    "StopInstance",
    "StopTask",
]
