"""`python -m qsmxt_app.run_node FILE` runs the step that a job of a cluster stands for."""

import sys

from qsmxt_app.launch import run_command

if __name__ == "__main__":
    sys.exit(run_command("qsmxt_app.workflows.cluster_executor"))
