"""An ingest whose middle stations are actors of a Ray cluster, in place of threads."""
