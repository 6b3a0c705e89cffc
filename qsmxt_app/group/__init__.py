"""What is made of all participants together: a template, average maps, tables. No file is known here."""
