"""Folders whose new files are scored as they arrive."""
