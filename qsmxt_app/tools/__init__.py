"""Single steps as commands on NIfTI files."""
