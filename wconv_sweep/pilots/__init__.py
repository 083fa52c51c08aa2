"""The programs on the nodes: agents with their lanes, orders, spools."""
