"""`python -m qsmxt_app.simulate OUT` writes digital subjects as a raw BIDS dataset."""

import sys

from qsmxt_app.launch import run_command

if __name__ == "__main__":
    sys.exit(run_command("qsmxt_app.simulate.command"))
