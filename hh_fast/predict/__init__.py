"""From any artifact and any image files to classes and scores. Only `.keras` files and SavedModels load TensorFlow."""
