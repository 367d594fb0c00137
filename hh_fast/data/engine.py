"""tf.data options of this package: no autotuner, no graph rewrites."""

import tensorflow as tf

# In batches: one is prepared while another is in use, and one more is ready.
PARALLEL_BATCHES = 2
PREFETCHED_BATCHES = 1

# For mapped functions, which are pure TensorFlow: AutoGraph, which converts Python's `if` and `for`, would take 60 ms to find
# nothing to convert.
no_autograph = tf.autograph.experimental.do_not_convert


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same data set with its explicit parallelism and without graph rewrites.

    The autotuner's thread sleeps for intervals that double from 10 ms up to a minute, and shutting down an iterator waits for the
    current one to end (benchmarks/README.md). Graph rewrites would copy a captured block of images at the first batch.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)
