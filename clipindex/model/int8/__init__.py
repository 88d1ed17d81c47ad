"""The int8 form of a bundle's vision tower, made on a user's own pictures without torch."""
