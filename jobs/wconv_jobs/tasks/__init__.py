"""A data set as tensors, with its loss: classification, denoising, and your own."""
