"""`python -m msm` is the command `msm`."""

import sys

from msm.cli import main

sys.exit(main())
