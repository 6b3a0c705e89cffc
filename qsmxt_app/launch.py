# ruff: noqa: PTH100, PTH117, PTH120
"""How each process of the package starts: what it runs is imported only once the process is prepared.

Code comes from where it was installed, never from the current folder, which may hold files of other users.
Python searches the current folder first in `python -m` and `python -c`, and wherever PYTHONPATH has an empty
or relative entry. Nothing, not even pathlib, is imported here that is not loaded when Python starts.
"""

import os
import sys


def run_command(module: str) -> int:
    """Prepare this process, then call `main` of a module; return its exit code."""
    exclude_current_folder()

    from importlib import import_module

    from qsmxt_app.environment import outside_current_folder, setup_process
    from qsmxt_app.standard_streams import keep_standard_streams

    keep_standard_streams()
    setup_process()
    with outside_current_folder():
        command = import_module(module)
    return int(command.main())


def exclude_current_folder() -> None:
    """Take the current folder off the module search path of this process and of those that it starts.

    To be called before anything else is imported. The folder of a script goes too; the one
    that holds this package stays.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    excluded = {os.path.abspath(entry) for entry in given if not os.path.isabs(entry)}
    if not sys.flags.safe_path:
        excluded.add(sys.path[0])
    excluded -= {os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
    sys.path[:] = [entry for entry in sys.path if entry and entry not in excluded]
    os.environ["PYTHONSAFEPATH"] = "1"
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in given if os.path.isabs(entry))
