"""The encoder of a bundle, whichever kind of model it is."""

from __future__ import annotations

from clipindex.model.bundle import Bundle
from clipindex.model.encoder import Encoder, Model
from clipindex.model.providers import Provider


def open_model(bundle: Bundle, provider: Provider = Provider.CPU) -> Encoder:
    """A model that loads its graphs on first use.

    Raises ProviderUnavailable when the provider is not installed or cannot run the bundle. To be
    called from the main thread.
    """
    if bundle.manifest.merged is None:
        return Model(bundle, provider)
    from clipindex.model.merged import MergedModel  # few have such a model

    return MergedModel(bundle, provider)
