"""Train an image classifier fast with tf.data, and export TFLite files that phones load.

The way of the data, room by room:

  hh_fast.data      a built-in, folder, zip or TFDS data set -> batches of uint8 images
  hh_fast.model     the CNN of the "Horses or Humans" recipe
  hh_fast.training  batches -> weights, and a run folder that says how they came about
  hh_fast.export    weights -> SavedModel and TFLite files, each checked against the model
  hh_fast.predict   any of those files -> class and score
  hh_fast.bench     the ImageDataGenerator path beside this one, timed in turn

Importing this package loads no TensorFlow.
"""

__version__ = "0.1.0"
