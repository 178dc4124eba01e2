"""A data set by name: read, checked, and fed to training in batches."""
