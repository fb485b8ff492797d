"""Values that are none: repeated in fp32 when the precision was a reduced one, an error otherwise."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from inference.engines.base import CheckedBackend
from tests.inference.small import tile


class Answering:
    """Answers with a constant."""

    name, device, gated, tlc = "stand-in", "cpu", False, "none"

    def __init__(self, value: float, precision: str = "fp32") -> None:
        self.value, self.precision, self.calls = value, precision, 0

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        self.calls += 1
        output = tile.copy()
        output[0, 0, 0, 0] = self.value
        return output


def test_finite_values_pass_untouched():
    checked = CheckedBackend(Answering(0.5, "bf16"), lambda: pytest.fail("fp32 is not needed"))
    assert (checked.name, checked.device, checked.precision, checked.tlc) == ("stand-in", "cpu", "bf16", "none")
    assert checked(tile(3, 4))[0, 0, 0, 0] == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_reduced_precision_is_repeated_in_fp32_which_is_opened_once_with_one_warning(value, caplog):
    exact, opened = Answering(0.25), []
    checked = CheckedBackend(Answering(value, "fp16"), lambda: opened.append(1) or exact)
    for _ in range(3):
        assert checked(tile(3, 4))[0, 0, 0, 0] == 0.25
    assert len(opened) == 1
    assert exact.calls == 3
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "fp16" in warnings[0].getMessage()
    assert "3 x 4" in warnings[0].getMessage()


def test_fp32_that_is_not_finite_is_an_error_with_names():
    with pytest.raises(FloatingPointError, match=r"stand-in in fp32 on cpu.*3 x 4"):
        CheckedBackend(Answering(np.nan))(tile(3, 4))
    broken = CheckedBackend(Answering(np.nan, "bf16"), lambda: Answering(np.nan))
    with pytest.raises(FloatingPointError, match="in fp32"):
        broken(tile(3, 4))
