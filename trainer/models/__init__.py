"""The CNNs, their one layer that is not Keras's own, and their optimizers."""
