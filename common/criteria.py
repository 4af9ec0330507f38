"""Label-free criteria: properties of the predictions on the target that might rank networks as accuracy does.
No training and no choice of released weights uses them; the report compares them with accuracy."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from common.losses import entropy


def criteria(logits: Tensor, threshold: float = 0.9) -> dict[str, float]:
    """Criteria for predictions with logits (N, K): the share that is confident (largest probability above the
    threshold), their mean entropy (nats), the entropy of the predicted class distribution (nats; ln K if all
    classes are predicted equally often), and the nuclear norm of the prediction matrix divided by √(K N),
    which is 1 if predictions are confident and diverse (Cui et al. 2020)."""
    probabilities = logits.float().softmax(1)
    norm = torch.linalg.matrix_norm(probabilities, "nuc") / math.sqrt(probabilities.numel())
    return {"confident": (probabilities.amax(1) > threshold).float().mean().item(),
            "entropy": entropy(probabilities).mean().item(),
            "class entropy": entropy(probabilities.mean(0)).item(),
            "nuclear norm": norm.item()}


def of_network(network: nn.Module, images: Tensor) -> dict[str, Any]:
    """Criteria and predictions of a network in evaluation mode on images uint8 (N, 3, H, W) on its device."""
    with torch.inference_mode():
        logits = torch.cat([network(part.float() / 255) for part in images.split(500)])
    return {**criteria(logits), "predictions": " ".join(map(str, logits.argmax(1).tolist()))}
