"""From NIfTI files of any names to images that can be named: paths, JSON, headers, and a table."""
