"""The four questions of KEDA's protocol, answered. Stage: ask -> answer.

HorizontalPodAutoscaler: `replicas = ceil(metric / target)` for a metric of type AverageValue, so that a target of 1 makes the metric's
value the number of replicas (algorithm details, "averageValue"). Whatever is not known ends in an error, never in a number: KEDA then
does what the ScaledObject's `fallback` says, and without one the autoscaler leaves the number as it is.
"""

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc

from tenfold.console.keda.asked import BadMetadata, Ref
from tenfold.console.keda.brain import Answer
from tenfold.console.keda.protocol import (
    METRIC,
    GetMetricSpecResponse,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
)
from tenfold.console.keda.watched import Full, Missing, Objects, Watched

STREAMS_MAX = 16
"""So many streams of one ScaledObject at once: KEDA opens one."""
NAME_LENGTH_MAX = 253
"""Of a namespace and of a name, as Kubernetes bounds them."""
KEYS_MAX = 50
WHY_KEY = "tenfold-why"
"""The reason goes with each answer, as trailing metadata."""
WHY_LENGTH_MAX = 1000

Context = Any
Message = Any


class Service:
    """Each method under its name in the protocol."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def IsActive(self, request: Message, context: Context) -> Message:
        """False where KEDA may scale to zero: the pool may sleep, and nobody asks for it. Of one that may not sleep this is known without
        any load, and an older KEDA takes an error for a wish to sleep."""
        watched = await self._watched(request, context)
        try:
            return IsActiveResponse(result=await watched.is_active())
        except (BadMetadata, Missing) as error:
            await _refuse(context, error)

    async def StreamIsActive(self, request: Message, context: Context) -> AsyncIterator[Message]:
        """The same at once and at each change, until whoever listens goes or the scaler stops. While it is not known nothing is sent."""
        watched = await self._watched(request, context)
        if watched.streams >= STREAMS_MAX:
            await _refuse(context, Full(f"this ScaledObject has {STREAMS_MAX} streams already: end one"))
        watched.streams += 1
        try:
            told: bool | None = None
            while not watched.is_over:
                # Taken before the answer is read, so that no change falls between the two.
                turn = watched.turn
                now = watched.is_active_now()
                if now is not None and now != told:
                    told = now
                    yield IsActiveResponse(result=now)
                    continue
                await turn.wait()
        finally:
            watched.streams -= 1

    async def GetMetricSpec(self, request: Message, context: Context) -> Message:
        """What the autoscaler aims for: 1 of our metric per replica. Needs no load, so that the autoscaler is made also without any."""
        await self._watched(request, context)
        return GetMetricSpecResponse(metricSpecs=[MetricSpec(metricName=METRIC, targetSize=1, targetSizeFloat=1.0)])

    async def GetMetrics(self, request: Message, context: Context) -> Message:
        """How many instances the pool is to have."""
        if request.metricName not in ("", METRIC):
            await _refuse(
                context, BadMetadata(f"there is no metric {request.metricName[:80]}: the one there is is {METRIC}")
            )
        wanted = (await self._answer(request.scaledObjectRef, context)).wanted
        return GetMetricsResponse(
            metricValues=[MetricValue(metricName=METRIC, metricValue=wanted, metricValueFloat=float(wanted))]
        )

    async def _watched(self, request: Message, context: Context) -> Watched:
        try:
            return self._objects.of(_ref(request))
        except (BadMetadata, Full, Missing) as error:
            await _refuse(context, error)

    async def _answer(self, request: Message, context: Context) -> Answer:
        watched = await self._watched(request, context)
        try:
            answer = await watched.first()
        except (BadMetadata, Missing) as error:
            await _refuse(context, error)
        context.set_trailing_metadata(((WHY_KEY, _plain(answer.why)),))
        return answer


def _ref(request: Message) -> Ref:
    """Raises `BadMetadata` for what no ScaledObject can be."""
    if len(request.scalerMetadata) > KEYS_MAX:
        raise BadMetadata(f"the metadata has more than {KEYS_MAX} keys")
    if max(len(request.name), len(request.namespace)) > NAME_LENGTH_MAX:
        raise BadMetadata(f"a name has at most {NAME_LENGTH_MAX} characters")
    return Ref(request.namespace, request.name, tuple(sorted(request.scalerMetadata.items())))


async def _refuse(context: Context, error: BadMetadata | Missing | Full) -> NoReturn:
    codes = {
        BadMetadata: grpc.StatusCode.INVALID_ARGUMENT,
        Missing: grpc.StatusCode.UNAVAILABLE,
        Full: grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    await context.abort(codes[type(error)], str(error))
    raise AssertionError("abort raises")


def _plain(sentence: str) -> str:
    """A sentence as gRPC metadata may carry it: printable ASCII."""
    clean = "".join(c if c.isprintable() else " " for c in sentence)
    return clean[:WHY_LENGTH_MAX].encode("ascii", "backslashreplace").decode()
