"""From a data set's name, folders or zips to batches of uint8 images."""
