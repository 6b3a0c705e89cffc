"""nipype graphs: thin nodes that load, call the physics, and save."""

from qsmxt_app.environment import environment_variables, outside_current_folder

# nipype asks a server for its newest version otherwise; nothing here uses the network at run time.
# And it reads nipype.cfg of the current folder, by which a folder of data could change what a run does.
with environment_variables({"NIPYPE_NO_ET": "1"}), outside_current_folder():
    import nipype

nipype.config.set("execution", "check_version", "false")
