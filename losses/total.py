"""The weighted sum of losses that a config asks for; the one place where a batch's shapes and range are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import paddle
from paddle import nn

from configs.schema import LossTerm
from losses.ms_ssim import MSSSIMLoss
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


class TotalLoss(nn.Layer):
    """Weighted sum of the terms of a config; all of it is computed in float32, whatever autocast says.

    Args:
        terms: `configs.schema.Config.loss`.
    """

    def __init__(self, terms: Sequence[LossTerm]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.losses = nn.LayerDict()
        for term in terms:
            settings = {key: value for key, value in asdict(term).items() if key not in ("name", "weight")}
            self.losses[term.name] = LOSSES[term.name](**settings)
        self._range_checked = False

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
            clean: the truth, of the same shape, in [0, 1]; checked in the first batch.
            restored: the picture before the gate, of the same shape; None without a gate, which no term then needs.
            mask_logit: the predicted mask before the sigmoid, [N, 1, H, W]; None without a gate.
            mask: the true mask, 1 = occluder, [N, 1, H, W].

        Returns:
            (the sum, a scalar to call backward on; name -> the term's value without its weight, cut off from the graph)

        Raises:
            ValueError: two tensors that are compared differ in shape, or white is not 1.
        """
        given = {"result": result, "clean": clean, "restored": restored, "mask_logit": mask_logit, "mask": mask}
        _check_shapes(given)
        # The first batch only, because each look waits for the device.
        if not self._range_checked:
            _check_range(clean)
            self._range_checked = True
        total = paddle.zeros([], dtype="float32")
        values: dict[str, paddle.Tensor] = {}
        with paddle.amp.auto_cast(enable=False):
            # fp16 has neither the range for squares nor the precision for variances.
            tensors = {name: tensor.astype("float32") for name, tensor in given.items() if tensor is not None}
            for term in self.terms:
                value = self.losses[term.name](**{name: tensors[name] for name in term.inputs})
                values[term.name] = value.detach()
                if term.weight:
                    total = total + term.weight * value
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


def _check_range(clean: paddle.Tensor) -> None:
    """The fault of the original: pictures of one range, and MS-SSIM with the constants of another."""
    # NumPy's, since those of Paddle 2.6 pass over NaN.
    values = clean.astype("float32").numpy()
    lowest, highest = float(values.min()), float(values.max())
    # Resizing in float32 may overshoot white by a rounding error; written so that NaN is refused.
    if not (lowest >= -1e-4 and highest <= 1 + 1e-4):
        raise ValueError(
            f"the clean values lie in [{lowest:g}, {highest:g}], expected [0, 1]: white is 1 for every loss"
        )
