"""Processes that are started while a gateway talks to the control server live until they are their own program."""

import subprocess
import sys
from pathlib import Path

SERVER = """
import asyncio, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from tenfold.drivers.envoy.protos import load

asyncio.run(load())
import grpc

def answer(requests, context):
    for request in requests:
        yield request

handler = grpc.stream_stream_rpc_method_handler(answer)
server = grpc.server(ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": handler}),))
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
client = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
try:
    # What is done in the child before it becomes another program makes this a real fork.
    codes = [subprocess.run(["/bin/true"], preexec_fn=int).returncode for _ in range(300)]
    assert client.poll() is None, "the client has ended"
finally:
    client.kill()
    client.wait()
print(sum(code != 0 for code in codes))
"""

CLIENT = """
import sys, time
import grpc

def words():
    for _ in range(20):
        yield b"word"
        time.sleep(0.001)

while True:
    with grpc.insecure_channel("unix:" + sys.argv[1]) as channel:
        list(channel.stream_stream("/a.B/C")(words()))
"""


def test_no_child_dies_of_grpc(tmp_path: Path) -> None:
    """Of hundreds of processes forked while a client comes, talks and goes, every one becomes the program it should be."""
    command = [sys.executable, "-c", SERVER, str(tmp_path / "sock"), CLIENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert done.stdout == "0\n"
    assert "fork" not in done.stderr
