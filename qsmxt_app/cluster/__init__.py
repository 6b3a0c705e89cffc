"""Submission of a study to the scheduler of a cluster: resources, scripts, and the state of its tasks."""
