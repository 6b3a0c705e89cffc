"""Handing a study to the scheduler of a cluster: what is asked for, the scripts, and what came of it."""
