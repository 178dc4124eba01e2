"""The served model: its files, the versions that follow one another, the runtimes, and the queue before them."""
