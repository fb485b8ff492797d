"""The check that a loss with a value range is fed values of that range."""

from __future__ import annotations

import paddle


class ValueRangeCheck:
    """Looks at the first clean batch and refuses it when `data_range` cannot be its range.

    With the wrong range MS-SSIM still runs and looks plausible, but its constants swamp the picture: on values in
    [0, 1], a range of 255 makes the loss about a thousand times too weak. Later batches are not looked at, because each
    look waits for the device.

    Args:
        name: of the loss, for messages.
        data_range: the value of white.
    """

    def __init__(self, name: str, data_range: float) -> None:
        if not data_range > 0:
            raise ValueError(f"{name}: data_range is {data_range}, expected the value of white, such as 1.0")
        self.name = name
        self.data_range = float(data_range)
        self.passed = False

    def __call__(self, clean: paddle.Tensor) -> None:
        """Checks `clean` unless an earlier call has passed.

        Raises:
            ValueError: values outside [0, data_range]; or data_range > 1 and none of the values above 1.
        """
        if self.passed:
            return
        # amin and amax: Paddle 3.2 warns people away from min and max at their first call.
        lowest, highest = float(clean.amin().item()), float(clean.amax().item())
        # Resizing in float32 may overshoot white by a rounding error; written so that NaN is refused.
        slack = 1e-4 * self.data_range
        if not (lowest >= -slack and highest <= self.data_range + slack):
            raise ValueError(
                f"{self.name}: the clean values lie in [{lowest:g}, {highest:g}], outside [0, data_range] = "
                f"[0, {self.data_range:g}]; set data_range to the value of white in the data"
            )
        if self.data_range > 1 and highest <= 1:
            raise ValueError(
                f"{self.name}: the clean values lie in [{lowest:g}, {highest:g}], so white is 1.0, but data_range is "
                f"{self.data_range:g}; set data_range: 1.0"
            )
        self.passed = True
