"""Image files become pixels here, by one policy for the trainer and the service."""
