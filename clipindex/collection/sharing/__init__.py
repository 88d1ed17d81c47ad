"""One process holds an embedded collection; it answers the others over a Unix socket."""
