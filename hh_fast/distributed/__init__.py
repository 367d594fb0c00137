"""Several devices, several machines, and a tf.data service."""
