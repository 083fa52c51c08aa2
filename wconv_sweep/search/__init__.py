"""Which density is tried next, and which trial ends early."""
