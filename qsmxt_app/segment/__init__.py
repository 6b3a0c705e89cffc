"""Labelling of brains: atlases, networks and labels of other programs, and values by region."""
