"""The study: the paper's experiments, its claims and its wishes, run and judged by one command."""
