"""The files of a finished trial beside its checkpoint: test images, confusion matrix."""
