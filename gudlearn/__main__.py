"""The command line, as ``python -m gudlearn``."""

import sys

from gudlearn.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
