"""`python -m qsmxt_app` is `qsmxt`."""

import sys

from qsmxt_app.entry_points import qsmxt

if __name__ == "__main__":
    sys.exit(qsmxt())
