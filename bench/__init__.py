"""The figures that Tenfold must show, measured through its own command line on the real engines, beside what was promised.

Stage: after everything else. `python -m bench` runs the rows of `rows.ROWS` one after another; each brings up what it measures in a
folder of its own, does its harm, and leaves nothing behind. Nothing here is imported by Tenfold.
"""

import os

# As in Tenfold's own processes (see tenfold.cli).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
