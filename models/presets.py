"""The sizes of NAFNet that this project trains, by name. `PRESETS` can be read without importing Paddle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.nafnet import NAFNet

# The write-up's "one block per down-sampling, ten at the deepest" can be read in two ways: the first two presets.
PRESETS: dict[str, dict[str, Any]] = {
    # 21.16 M parameters, 8.6 GMAC for 256x256.
    "w32_middle10": {
        "width": 32,
        "encoder_blocks": [1, 1, 1, 1],
        "middle_blocks": 10,
        "decoder_blocks": [1, 1, 1, 1],
    },
    # 8.70 M parameters, 8.6 GMAC for 256x256.
    "w32_encoder10": {
        "width": 32,
        "encoder_blocks": [1, 1, 1, 10],
        "middle_blocks": 1,
        "decoder_blocks": [1, 1, 1, 1],
    },
    # 5.34 M parameters, 2.2 GMAC for 256x256: the size of the shipped weights, for CPUs.
    "w16_middle10": {
        "width": 16,
        "encoder_blocks": [1, 1, 1, 1],
        "middle_blocks": 10,
        "decoder_blocks": [1, 1, 1, 1],
    },
    # For smoke runs and tests: learns within minutes on two CPU cores, is of no other use.
    "tiny": {"width": 8, "encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]},
}


def resolve(preset: str | None = None, **overrides: Any) -> dict[str, Any]:
    """The keyword arguments of `NAFNet` for a preset with single values changed.

    Args:
        preset: a name of `PRESETS`; None starts from NAFNet's own defaults.
        overrides: arguments of NAFNet; None leaves the preset's value.

    Raises:
        ValueError: no such preset.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown, expected one of {', '.join(PRESETS)}")
    base = {} if preset is None else PRESETS[preset]
    return {**base, **{key: value for key, value in overrides.items() if value is not None}}


def build(preset: str | None = None, **overrides: Any) -> NAFNet:
    """A new network of a preset; arguments and errors as in `resolve` and `NAFNet`."""
    # Here, so that the checker of configurations reads the names above without waiting for Paddle.
    from models.nafnet import NAFNet

    return NAFNet(**resolve(preset, **overrides))
