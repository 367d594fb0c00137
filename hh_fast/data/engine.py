"""How tf.data runs the data sets of this package: as written, without its autotuner."""

import tensorflow as tf

# Of whole batches: a second one is made while the first is used, and one more waits.
PARALLEL_BATCHES = 2
PREFETCHED_BATCHES = 1

# For the functions that data sets map: they are TensorFlow already, and AutoGraph, which turns Python's `if` and `for` into
# that, takes 60 ms to find so.
no_autograph = tf.autograph.experimental.do_not_convert


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, made with the parallelism that the data set names and by the operations that it names.

    The autotuner's thread naps, twice as long each time, from 10 ms up to a minute, and an iterator that shuts down waits
    for the nap to end, up to as long as it was in use (benchmarks/README.md). The graph rewrites would copy a whole captured
    store at the first batch, and have nothing to gain here.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)
