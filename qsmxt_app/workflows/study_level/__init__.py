"""The group level as a graph: a template of the study, average maps, and tables of all regional values."""
