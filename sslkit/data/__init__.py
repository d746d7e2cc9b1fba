"""From a data set's files to batches: manifest, reading, cropping, cache, splits, augmentation."""
