"""Files written atomically, memory, cores, and what native code prints. No TensorFlow."""
