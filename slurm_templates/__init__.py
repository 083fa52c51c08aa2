"""Cluster profiles that ship with wconv-sweep; `wconv_sweep.study.resources` finds them."""
