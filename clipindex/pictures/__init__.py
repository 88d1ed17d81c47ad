"""From the bytes of a picture file to pixels and facts."""
