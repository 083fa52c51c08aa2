"""Measures how fast the trials of a study are in each shape, on the user's own hardware."""
