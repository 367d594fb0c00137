"""`bin/bench`: ImageDataGenerator, stock tf.data and hh_fast on the same images."""
