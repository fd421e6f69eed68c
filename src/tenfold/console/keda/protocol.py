"""KEDA's `externalscaler.ExternalScaler` as Python: messages and methods, made at import from the protocol's own definition.

The definition is `externalscaler.proto`; `externalscaler.binpb` is the same, compiled: a description that every protobuf runtime reads,
where generated Python would be tied to the version that generated it. Raises ImportError where gRPC is not installed.
"""

from importlib.resources import files
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "externalscaler.ExternalScaler"
METRIC = "tenfold-wanted"
"""The one metric that is served: how many instances the pool is to have."""

# In a pool of its own: another library in this process may bring the same definition.
_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    files("tenfold.console.keda").joinpath("externalscaler.binpb").read_bytes()
).file:
    _pool.Add(_file)


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"externalscaler.{name}"))


IsActiveResponse = _message("IsActiveResponse")
GetMetricSpecResponse = _message("GetMetricSpecResponse")
MetricSpec = _message("MetricSpec")
GetMetricsResponse = _message("GetMetricsResponse")
MetricValue = _message("MetricValue")


def handlers(service: Any) -> grpc.GenericRpcHandler:
    """What a gRPC server needs to serve `service`: each of the protocol's methods that it has under the method's own name. The others
    answer UNIMPLEMENTED, as the protocol has it for optional ones."""
    methods = {}
    for method in _pool.FindServiceByName(SERVICE).methods:
        behaviour = getattr(service, method.name, None)
        if behaviour is None:
            continue
        kind = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        methods[method.name] = kind(
            behaviour,
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(SERVICE, methods)
