"""The page of `report --html`, one module for each part of it."""
