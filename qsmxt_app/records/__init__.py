"""Typed, versioned results of a run, written by workflows and read by reports and the group level."""
