"""What apps and the control plane must agree on, versioned: the environment of an instance and the shape of a posted metric."""

from tenfold.wire.metrics import METRICS_PATH, MetricPost, read_post

__all__ = ["METRICS_PATH", "MetricPost", "read_post"]
