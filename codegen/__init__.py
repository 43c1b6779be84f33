"""One kernel -> code."""
