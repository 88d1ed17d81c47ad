"""Duplicates: copies of a file, and the same picture resized, re-encoded, cropped or mirrored."""
