"""From a data set to a judged, pushed SavedModel. It imports the registry, never the service."""
