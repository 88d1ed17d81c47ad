"""`clipindex serve`: the search page, the search API and the embedding API, over HTTP."""
