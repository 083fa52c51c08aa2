"""What runs on the nodes: agents with their lanes, orders, spools."""
