"""Starts, watches and ends the processes that train a trial: the ranks."""
