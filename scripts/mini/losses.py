"""What a training step makes small."""

import torch
from torch import Tensor
from torch.nn import functional

from .dataset import Batch


def soft_targets(batch: Batch, chances: Tensor) -> Tensor:
    """(B, B): whom each picture may be described by. Texts with one key share a positive; a text
    that names a class also describes a picture as far as the classifier sees that class in it."""
    keys = torch.from_numpy(batch.keys)
    same = (keys[:, None] == keys[None, :]).float()
    classes = torch.from_numpy(batch.classes)
    seen = chances[:, classes.clamp(min=0)] * (classes >= 0)
    return torch.maximum(same, seen * (seen > 0.1))


def contrast(images: Tensor, texts: Tensor, scale: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy both ways against soft targets, rows made to sum to 1."""
    logits = scale * images @ texts.T
    forward = -(functional.normalize(targets, p=1, dim=1) * logits.log_softmax(1)).sum(1).mean()
    columns = functional.normalize(targets, p=1, dim=0)
    backward = -(columns * logits.log_softmax(0)).sum(0).mean()
    return (forward + backward) / 2


def structure_loss(texts: Tensor, original: Tensor) -> Tensor:
    """Free text keeps MiniLM's neighbours: the student's similarities, as a distribution over the
    other texts, follow the teacher's. (B, 512) and (B, 384), both of unit length."""
    sharpness = 15.0
    hidden = torch.eye(len(texts), dtype=torch.bool)
    teacher = (original @ original.T * sharpness).masked_fill(hidden, -1e4).softmax(1)
    student = (texts @ texts.T * sharpness).masked_fill(hidden, -1e4).log_softmax(1)
    return functional.kl_div(student, teacher, reduction="batchmean")
