"""The study: the paper's experiments, claims and outlook, run and tested by one command."""
