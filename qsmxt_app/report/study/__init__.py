"""`group.html`: what is known of all participants together, on one page."""
