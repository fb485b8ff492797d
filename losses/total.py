"""The weighted sum of losses that a config asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from losses.ms_ssim import MSSSIMLoss
from losses.settings import TERMS, normalise_terms
from losses.terms import CharbonnierLoss, FillLoss, L1Loss, MaskBCELoss, MaskDiceLoss, PSNRLoss

LOSSES: dict[str, type[nn.Layer]] = {
    "l1": L1Loss,
    "charbonnier": CharbonnierLoss,
    "ms_ssim": MSSSIMLoss,
    "psnr": PSNRLoss,
    "mask_bce": MaskBCELoss,
    "mask_dice": MaskDiceLoss,
    "fill": FillLoss,
}

_WHERE_FROM = {
    "restored": "which only a gated network gives: set model.gate: true, or drop the term",
    "mask_logit": "which only a gated network gives: set model.gate: true, or drop the term",
    "mask": "which comes with the patches: the data must hold mask patches, or drop the term",
}


class TotalLoss(nn.Layer):
    """Weighted sum of the terms of a config; all of it is computed in float32, whatever autocast says.

    Args:
        terms: as `losses.settings.normalise_terms` takes them, for example
            [{"name": "charbonnier", "weight": 1.0, "eps": 1e-3}, {"name": "ms_ssim", "data_range": 1.0}].

    Raises:
        ValueError: an unknown term, key or value, with its path.
    """

    def __init__(self, terms: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.weights: dict[str, float] = {}
        self.losses = nn.LayerDict()
        for term in normalise_terms(terms):
            name = term.pop("name")
            self.weights[name] = term.pop("weight")
            self.losses[name] = LOSSES[name](**term)

    def forward(
        self,
        result: paddle.Tensor,
        clean: paddle.Tensor,
        restored: paddle.Tensor | None = None,
        mask_logit: paddle.Tensor | None = None,
        mask: paddle.Tensor | None = None,
    ) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
        """Computes every term on one batch.

        Args:
            result: what the network hands out (after the gate), [N, C, H, W].
            clean: the truth, of the same shape.
            restored: the picture before the gate, of the same shape; None without a gate.
            mask_logit: the predicted mask before the sigmoid, [N, 1, H, W]; None without a gate.
            mask: the true mask, 1 = occluder, [N, 1, H, W].

        Returns:
            (the sum, a scalar to call backward on; name -> the term's value without its weight, cut off from the graph)

        Raises:
            ValueError: a term's input is None, or two tensors that are compared differ in shape.
        """
        given = {"result": result, "clean": clean, "restored": restored, "mask_logit": mask_logit, "mask": mask}
        _check_shapes(given)
        total = paddle.zeros([], dtype="float32")
        values: dict[str, paddle.Tensor] = {}
        with paddle.amp.auto_cast(enable=False):
            # fp16 has neither the range for squares nor the precision for variances.
            tensors = {name: tensor.astype("float32") for name, tensor in given.items() if tensor is not None}
            for name, loss in self.losses.items():
                for needed in TERMS[name].inputs:
                    if needed not in tensors:
                        raise ValueError(f"loss term {name!r} needs {needed!r}, {_WHERE_FROM[needed]}")
                value = loss(**{needed: tensors[needed] for needed in TERMS[name].inputs})
                values[name] = value.detach()
                if self.weights[name]:
                    total = total + self.weights[name] * value
        return total, values


def _check_shapes(tensors: Mapping[str, paddle.Tensor | None]) -> None:
    """Paddle would broadcast [N, 1, H, W] against [N, 3, H, W] without a word."""
    clean = list(tensors["clean"].shape)
    if len(clean) != 4:
        raise ValueError(f"the clean pictures have shape {clean}, expected [N, C, H, W]")
    mask_shape = [clean[0], 1, *clean[2:]]
    for name, tensor in tensors.items():
        expected = mask_shape if name in ("mask_logit", "mask") else clean
        if tensor is not None and list(tensor.shape) != expected:
            raise ValueError(f"{name} has shape {list(tensor.shape)}, expected {expected} beside clean {clean}")
