"""A program with every bad habit, for tests of the process driver: `app.py HABIT [PORT]`."""

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path


def serve(port: int, status: bytes = b"200 OK") -> None:
    """Answer every connection with one status, for ever."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()


def lose_environment() -> None:
    """Overwrite the own environment as programs do that show a title."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    ctypes.memset(start, 0, end - start)


def leave_children() -> None:
    """Start children that leave the session, one of them twice over."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        time.sleep(1000)
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 3)
        os.execve("/bin/sleep", ["sleep", "1000"], {})


def print_much() -> None:
    """Print a megabyte a second, in lines."""
    line = "x" * 1023 + "\n"
    while True:
        for _ in range(100):
            sys.stdout.write(line)
        sys.stdout.flush()
        time.sleep(0.1)


def main() -> None:
    habit = sys.argv[1]
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if habit == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if habit == "titled":
        lose_environment()
    if habit == "parent":
        leave_children()
    if habit == "printer":
        print_much()
    if habit == "fails":
        sys.stdout.write(f"starting\ncannot reach the database with {os.environ.get('SESSION_KEY', '')}\n")
        sys.exit(3)
    if habit == "greedy":
        hoard = bytearray()
        while True:
            hoard += b"x" * 10_000_000
    if habit == "switch":
        # Well for as long as the file `sick` is not there.
        listener = socket.create_server(("127.0.0.1", port))
        while True:
            connection, _ = listener.accept()
            connection.recv(4096)
            status = b"503 Sick" if Path(os.environ["SWITCH"]).exists() else b"200 OK"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\n")
            connection.close()
    if port:
        serve(port, b"503 No" if habit == "never" else b"200 OK")
    time.sleep(1000)


main()
