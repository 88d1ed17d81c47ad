"""Pictures that are sent to be indexed: kept until the ingest has them, in the order they came."""
