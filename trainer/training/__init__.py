"""From a config and a data set to the best epoch's model, resumable after every epoch."""
