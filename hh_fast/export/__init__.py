"""A trained model as files to deploy, each checked against the Keras model."""
