"""Looks at everything that a study needs before it is launched, and says what to do."""
