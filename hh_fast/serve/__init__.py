"""The web page that runs an exported model on a phone, and its server. Loads no TensorFlow."""
