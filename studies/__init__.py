"""Study files that ship with wconv-sweep; `wconv_sweep.study.resources` finds them."""
