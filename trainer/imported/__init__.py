"""The import of a model that another trainer made: read, wrapped, checked, judged, pushed."""
