"""hh_fast beside ImageDataGenerator and stock tf.data: races, their bounds, and the sweep."""
