"""Starting and stopping a study: its slots, its program, its pilots."""
