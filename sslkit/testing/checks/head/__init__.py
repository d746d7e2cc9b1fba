"""The checks of downstream heads.

A head is trained on representations, fitted to scores of images that the model was not trained on, and decodes logits
that were read from a file: most of the promises are what makes its scores those of the images, and of nothing else.
"""
