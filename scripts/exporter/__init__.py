"""From a checkpoint to a model bundle: one module for each class of models.

`source` finds out which class a checkpoint is; `clip`, `siglip`, `open_clip_models`, `dinov2` and
`multilingual` read one each; `towers` and `post_norm` are what they export; `parity` holds every
tower against the library that it came from, `tokens` its texts.
"""
