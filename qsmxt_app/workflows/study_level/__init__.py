"""The group level as a graph: one space for the study, its averages, and everybody's values in tables."""
