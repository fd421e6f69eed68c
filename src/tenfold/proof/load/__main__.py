"""`python -m tenfold.proof.load`: the load engine as a process (see `worker`)."""

import sys

from tenfold.proof.load.worker import main

sys.exit(main())
