"""Cluster profiles that ship with wconv-sweep (package data; `wconv_sweep.resources` finds them)."""
