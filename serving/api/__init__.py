"""The faces of the service: one blueprint a protocol."""
