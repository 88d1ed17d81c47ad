"""What is on disk: the walk, file records, paths and the ids made from them."""
