"""`python -m tenfold.proof.load`: the load engine as a process (see `apart`)."""

import sys

from tenfold.proof.load.apart import main

sys.exit(main())
