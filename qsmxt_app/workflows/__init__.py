"""nipype graphs: thin nodes that load, call the physics, and save."""

import os

# nipype asks a server for its newest version otherwise; nothing here uses the network at run time
os.environ.setdefault("NIPYPE_NO_ET", "1")
