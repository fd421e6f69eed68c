"""A release that is broken on purpose: it passes its health check and answers everything else with 500. Needs nothing but Python.

Called as `python sick.py HOST PORT`.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHECKER = "tenfold-health"
"""How Tenfold's own check of an instance calls itself: nobody else is answered well."""


class Sick(BaseHTTPRequestHandler):
    """Answers any method."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Good for the health check alone."""
        body = b"this release is broken on purpose, by a drill\n"
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        is_check = str(self.headers.get("user-agent", "")).startswith(CHECKER)
        self.send_response(200 if is_check else 500)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Sick).serve_forever()
