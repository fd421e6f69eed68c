"""Speaks to people; the only place that wires rooms together. Floor 5: `main` is the `tenfold` command."""

import os
import sys


def main() -> None:
    """Run the command line. Exits 0, 1 when something failed or a target was missed, 2 for a wrong call or blueprint."""
    # numpy asks once, when it is loaded. What Tenfold reckons is small: on several threads it takes as long, and twice the processor.
    alone = {"OPENBLAS_NUM_THREADS": "1"} if "OPENBLAS_NUM_THREADS" not in os.environ else {}
    os.environ.update(alone)
    try:
        from tenfold.cli.loading import interrupts_held

        with interrupts_held():
            from tenfold.cli.app import cli

        # Apps inherit this environment, and choose for themselves.
        for name in alone:
            del os.environ[name]

        cli(prog_name="tenfold")
    except KeyboardInterrupt:
        # Pressed before anything was begun; later on each command knows what it means.
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): nothing is left to say, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if "TENFOLD_DEBUG" in os.environ:
            raise
        from tenfold.loop import JournalError, LeaseError
        from tenfold.ports import DriverError

        if isinstance(error, JournalError | LeaseError | DriverError):
            # These are sentences for a person already.
            sys.stderr.write(f"Error: {error}\n")
            sys.exit(1)
        advice = "run it again with TENFOLD_DEBUG=1 for details"
        sys.stderr.write(f"Error: a bug in Tenfold ({type(error).__name__}: {error}); {advice}\n")
        sys.exit(1)
