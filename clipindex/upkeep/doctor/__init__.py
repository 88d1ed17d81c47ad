"""Whether everything that clipindex needs is there and works: each line is fine, or says what to
do. Nothing here relies on anything else: it runs where a store, a model or a setting is broken."""
