"""The best density per architecture, with its figures and its network."""
