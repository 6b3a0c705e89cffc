"""nipype graphs: thin nodes that load, call the physics, and save."""
