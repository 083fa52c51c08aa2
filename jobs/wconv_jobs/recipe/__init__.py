"""What a recipe chooses by name: the keys of each choice, and what training builds of them.

Importing these modules does not import torch: study files are checked where there is no GPU.
"""
