"""Posts a metric of the app's own to the control plane, where a trigger of the blueprint may scale by it."""

import http.client
import json
import urllib.error
import urllib.request

from tenfold.sdk.instance import this_instance
from tenfold.wire import METRICS_PATH, MetricPost

TIMEOUT_S = 2.0

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The control plane is on this machine: a proxy that the app uses for others could not reach it."""


def post_metric(name: str, value: float) -> bool:
    """Post this instance's share of metric `name` (`concurrent_users`); the control plane adds the shares up. Blocks for 2 s at most.

    Returns False when there is nobody to tell (not run by Tenfold, or the control plane is away): an app must not fail for that.
    Raises ValueError when the control plane says that name or value is wrong.
    """
    me = this_instance()
    if me is None or not me.url:
        return False
    post = MetricPost(me.service, me.region, me.id, name, value)
    request = urllib.request.Request(
        me.url + METRICS_PATH,
        data=json.dumps(post.to_json()).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with _DIRECT.open(request, timeout=TIMEOUT_S):
            return True
    except urllib.error.HTTPError as refusal:
        if refusal.code == 400:
            raise ValueError(refusal.read().decode(errors="replace").strip()) from refusal
        return False
    except (OSError, http.client.HTTPException):
        return False
