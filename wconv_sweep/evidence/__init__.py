"""What the stored trials say: status, costs, surrogate, statistics, confirmation."""
