"""Which provider runs a bundle's vision tower, and the tower loaded on it."""

from __future__ import annotations

from importlib.util import find_spec

from clipindex.errors import ProviderUnavailable
from clipindex.model.bundle import Bundle
from clipindex.model.providers import Provider, VisionTower, unavailable


def candidates(bundle: Bundle, provider: Provider) -> tuple[Provider, ...]:
    """The providers to try, in this order; more than one only for `auto`.

    To be called from the main thread, before any work. Raises ProviderUnavailable when the
    provider is not installed, or cannot run this bundle.
    """
    if provider is Provider.OPENVINO:
        if find_spec("openvino") is None:
            raise unavailable(provider, "the package openvino is not installed")
        return (provider,)
    from clipindex.model import onnxruntime_tower  # 40 MB that OpenVINO does not need

    if provider is Provider.AUTO:
        may_use_gpu = bundle.manifest.precision != "int8" and onnxruntime_tower.has_cuda()
        return (Provider.CUDA, Provider.CPU) if may_use_gpu else (Provider.CPU,)
    if bundle.manifest.precision == "int8" and provider is not Provider.CPU:
        raise ProviderUnavailable(
            f"the provider '{provider}' cannot run an int8 model, which is made for CPUs",
            hint="leave --provider out, or use an fp32 model",
        )
    onnxruntime_tower.check(provider)
    return (provider,)


def open_vision_tower(
    bundle: Bundle, providers: tuple[Provider, ...], callers: int = 1
) -> VisionTower:
    """Load the vision tower on the first of `providers` that starts, for `callers` threads.

    Raises ModelError, or ProviderUnavailable when the last one does not start.
    """
    *preferred, last = providers
    for provider in preferred:
        try:
            return _open(bundle, provider, callers)
        except ProviderUnavailable:
            continue
    return _open(bundle, last, callers)


def _open(bundle: Bundle, provider: Provider, callers: int) -> VisionTower:
    if provider is Provider.OPENVINO:
        from clipindex.model.openvino_tower import OpenVinoTower  # an extra, and heavy

        return OpenVinoTower(bundle.vision, bundle.probe, callers)
    from clipindex.model.onnxruntime_tower import SessionTower  # a query loads it before the store

    return SessionTower(bundle.vision, bundle.probe, provider)
