"""`python -m scaleprof`: the command line."""

import sys

from scaleprof.cli import main

sys.exit(main())
