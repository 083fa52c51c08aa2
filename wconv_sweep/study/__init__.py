"""Study files: schema, checks, recipes, settings, own modules."""
