"""The user's files: images, data sets and prepared copies, read and written without torch."""
