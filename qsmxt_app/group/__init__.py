"""Group level: template, average maps and tables, from arrays; no file access."""
