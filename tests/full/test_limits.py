"""What the kernel enforces for root: the memory of an instance."""

import json
import os
import time
from pathlib import Path

from .conftest import User, answer_of

GLUTTON = """
import http.server, os

class Page(http.server.BaseHTTPRequestHandler):
    held = []

    def do_GET(self):
        if self.path == "/eat":
            for _ in range(400):
                Page.held.append(bytearray(os.urandom(1024 * 1024)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""
BLUEPRINT = (
    "name: glutton\nservices:\n  web:\n    command: python3 app.py\n    http: true\n    instance: {memory: 100MiB}\n"
)


def test_an_instance_that_eats_too_much_is_ended_and_replaced(installed: Path, open_folder: Path) -> None:
    """The kernel ends an instance at its `instance.memory`, the reason is told, and another one serves."""
    assert os.geteuid() == 0, "control groups are for root: run these tests as root"
    folder = open_folder / "glutton"
    folder.mkdir()
    (folder / "app.py").write_text(GLUTTON)
    (folder / "tenfold.yaml").write_text(BLUEPRINT)
    user = User(installed, open_folder)
    try:
        up = user.call(folder, "up", "--detach")
        assert up.returncode == 0, up.stdout + up.stderr
        address = json.loads(user.call(folder, "status", "--json").stdout)["address"]
        assert answer_of(address + "/eat", within_s=30.0) >= 500
        until_s = time.monotonic() + 30.0
        while not (said := reasons(user, folder)) and time.monotonic() < until_s:
            time.sleep(0.2)
        assert any("memory" in why for why in said), said
        while (status := answer_of(address)) != 200 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert status == 200
    finally:
        user.call(folder, "down")


def reasons(user: User, folder: Path) -> list[str]:
    """Why an instance ended, from the decisions that tell of one's end."""
    decisions = json.loads(user.call(folder, "status", "--json").stdout)["decisions"]
    return [decision["why"] for decision in decisions if " ended: " in decision["why"]]
