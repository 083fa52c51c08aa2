"""What a finished trial leaves beside its checkpoint: test images, confusion matrix."""
