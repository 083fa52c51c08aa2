"""Cluster profiles: facts with sources, the limits and the prices of a site."""
