"""Figures and pages that show whether a map can be trusted."""
