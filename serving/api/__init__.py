"""The APIs of the service: one blueprint a protocol, and one each for the pages and the model's description."""
