"""What stands between the network and the handlers: who may ask, and how much."""
