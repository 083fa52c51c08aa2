"""Cluster profiles that ship with wconv-sweep; `wconv_sweep.resources` finds them."""
