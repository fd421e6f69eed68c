"""The tools an app imports, if it likes: an app runs under Tenfold without them. Of the rest they see only `model` and `wire`."""

from tenfold.sdk.instance import Instance, this_instance
from tenfold.sdk.metrics import post_metric

__all__ = ["Instance", "post_metric", "this_instance"]
