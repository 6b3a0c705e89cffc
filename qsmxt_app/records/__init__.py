"""What a run has found out: typed, versioned objects that workflows write, and reports and the group read."""
