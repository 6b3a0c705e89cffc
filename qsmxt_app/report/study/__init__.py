"""`group.html`: template, regional values and quality of all participants on one page."""
