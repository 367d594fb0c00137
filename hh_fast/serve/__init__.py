"""The page that runs an exported model on a phone, and the server that hands it out. Loads no TensorFlow."""
