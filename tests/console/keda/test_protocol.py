"""The protocol is KEDA's: its names, its numbers, and nothing that was made from an older text."""

from importlib.resources import files
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

FIELDS = {
    "ScaledObjectRef": {"name": (1, "string"), "namespace": (2, "string"), "scalerMetadata": (3, "message*")},
    "IsActiveResponse": {"result": (1, "bool")},
    "GetMetricSpecResponse": {"metricSpecs": (1, "message*")},
    "MetricSpec": {"metricName": (1, "string"), "targetSize": (2, "int64"), "targetSizeFloat": (3, "double")},
    "GetMetricsRequest": {"scaledObjectRef": (1, "message"), "metricName": (2, "string")},
    "GetMetricsResponse": {"metricValues": (1, "message*")},
    "MetricValue": {"metricName": (1, "string"), "metricValue": (2, "int64"), "metricValueFloat": (3, "double")},
}
"""By message: field, number and type, * for repeated ones; a map is a repeated message. From KEDA's documentation, "External Scalers"."""
METHODS = {
    "IsActive": ("ScaledObjectRef", "IsActiveResponse", False),
    "StreamIsActive": ("ScaledObjectRef", "IsActiveResponse", True),
    "GetMetricSpec": ("ScaledObjectRef", "GetMetricSpecResponse", False),
    "GetMetrics": ("GetMetricsRequest", "GetMetricsResponse", False),
    "StreamMetricSpec": ("ScaledObjectRef", "GetMetricSpecResponse", True),
}


def shipped() -> bytes:
    return files("tenfold.console.keda").joinpath("externalscaler.binpb").read_bytes()


def test_what_is_shipped_is_made_from_the_definition(definition: Path, tmp_path: Path) -> None:
    """Compiling the definition again gives the description that is shipped; where it does not, the call below makes it anew."""
    made = tmp_path / "made.binpb"
    call = ["protoc", f"-I{definition}", f"--descriptor_set_out={made}", "externalscaler.proto"]
    assert protoc.main(call) == 0
    mend = "in src/tenfold/console/keda: python -m grpc_tools.protoc -I. --descriptor_set_out=externalscaler.binpb externalscaler.proto"
    found, fresh = (descriptor_pb2.FileDescriptorSet.FromString(text) for text in (shipped(), made.read_bytes()))
    assert found == fresh, mend


def test_it_is_the_protocol_that_keda_speaks() -> None:
    """Package, service, methods, fields and their numbers are those that KEDA documents."""
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(shipped()).file
    assert (file.package, file.syntax) == ("externalscaler", "proto3")
    kinds = {value: name.removeprefix("TYPE_").lower() for name, value in file.message_type[0].field[0].Type.items()}
    found = {
        message.name: {
            each.name: (each.number, kinds[each.type] + "*" * (each.label == each.LABEL_REPEATED))
            for each in message.field
        }
        for message in file.message_type
    }
    assert found == FIELDS
    (service,) = file.service
    assert service.name == "ExternalScaler"
    methods = {
        each.name: (each.input_type.rpartition(".")[2], each.output_type.rpartition(".")[2], each.server_streaming)
        for each in service.method
    }
    assert methods == METHODS
    assert not any(each.client_streaming for each in service.method)


@pytest.mark.parametrize("name", ["externalscaler.proto", "externalscaler.binpb"])
def test_both_forms_lie_beside_the_code(definition: Path, name: str) -> None:
    """The wheel takes along what lies in the package."""
    assert (definition / name).stat().st_size > 500
