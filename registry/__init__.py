"""Model versions on disk. Standard library only, so that every other package can import it."""
