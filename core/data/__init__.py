"""Rows: read, checked, split and counted, worded, rendered to tokens, and kept on disk for all steps."""
