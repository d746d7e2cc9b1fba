"""Random views of images for tasks that compare them: crops, turns, flips, colours, blur.

A batch at a time, on tensors; each view is a pure function of an explicit generator.
"""

from sslkit.data.views.augmented import augmented_views
from sslkit.data.views.options import ViewsConfig

__all__ = ["ViewsConfig", "augmented_views"]
