"""nipype graphs: thin nodes that load, call the physics, and save."""

import contextlib
import os

# nipype asks a server for its newest version otherwise; nothing here uses the network at run time
os.environ.setdefault("NIPYPE_NO_ET", "1")

# and it reads nipype.cfg of the current folder, by which a folder of data could change what a run does
with contextlib.chdir(os.sep):
    import nipype.utils.config  # noqa: F401
