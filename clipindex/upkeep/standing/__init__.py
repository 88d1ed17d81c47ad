"""Standing questions: asked of each new picture, their hits tagged and remembered."""
