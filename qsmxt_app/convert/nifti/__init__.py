"""NIfTI files with any names to images with BIDS entities, from paths, sidecars, headers and a table."""
