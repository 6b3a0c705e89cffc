"""`python -m qsmxt_app` is `qsmxt`."""

import sys

from qsmxt_app.cli import main

if __name__ == "__main__":
    sys.exit(main())
