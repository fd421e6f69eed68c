"""The program that starts the control plane again once a drill has killed it: when it is told to, and when the drill itself is gone,
however it ended. Stage: a drill's pipe -> `tenfold up`.

Its arguments are the command. It waits until nobody holds the other end of its standard input; a `-` that came before means that nothing
is to be started any more. It ends with the command's status, and its output is the command's.
"""

import os
import signal
import subprocess
import sys

PROGRAM = "tenfold.proof.drills.reviver"
NOT_NEEDED = b"-"


def main() -> int:
    """Wait, then start the control plane."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C in the drill's terminal is heard by the drill, which closes the pipe.
        signal.signal(number, signal.SIG_IGN)
    os.write(1, b"ready\n")
    if sys.stdin.buffer.read().startswith(NOT_NEEDED):
        return 0
    return subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, check=False, preexec_fn=_hear).returncode


def _hear() -> None:
    """What is started hears the signals that this program does not."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
