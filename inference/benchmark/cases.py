"""What is compared: engines, precisions, modes, widths, and the write-up's recipe. Imports no engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inference.engines.choice import PRECISIONS

STEPS = ("decode", "locate", "restore", "compose", "encode")
MODES = ("auto", "tiles", "full")
# The working size of the write-up ("2K"), tried beside a smaller one that the weights may ask for.
LARGE = 2048


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        network: which of the networks of `inference.benchmark.material`.
        mode: of `Restorer`.
        backend, precision, device: of `open_backend`.
        settings: what replaces the `PredictConfig` of the weights.
        recipe: the write-up's prediction: one photo, once, not through the pipeline.
    """

    network: str
    mode: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: bool = False

    @property
    def what(self) -> str:
        """Network and method, for people."""
        at = f", working at {self.settings['long_side']} px" if self.settings else ""
        return f"{self.network}, " + ("the write-up's recipe" if self.recipe else f"mode {self.mode}{at}")

    @property
    def name(self) -> str:
        """Unique among the cases of a run, for messages and --only."""
        device = "" if self.device in ("cpu", "auto") else f" on {self.device}"
        return f"{self.what}, " + ("auto" if self.backend == "auto" else f"{self.backend} {self.precision}{device}")

    @property
    def is_comparable(self) -> bool:
        """Does what the reference does, so that its pixels are compared with the reference's."""
        return self.mode == "auto" and not self.settings and not self.recipe

    @property
    def is_reference(self) -> bool:
        """Its results are those that the others are compared with."""
        return self.is_comparable and (self.backend, self.precision, self.device) == ("paddle", "fp32", "cpu")


def all_cases(network: str, wide: str, long_side: int, device: str, recipe: bool = True) -> list[Case]:
    """The rows of a run, in the order in which they are measured, the reference first.

    Args:
        network: the name of the network that the weights hold.
        wide: the name of the one of twice the width.
        long_side: of the working size that the weights ask for.
        device: what `predict.py` takes here: "cpu", or a GPU that works.
        recipe: also the write-up's, which takes minutes.
    """
    engines = [
        (backend, precision, place)
        for place in dict.fromkeys(("cpu", device))
        for backend, precisions in PRECISIONS[place.partition(":")[0]].items()
        for precision in precisions
    ]
    cases = [Case(network, "auto", *engine) for engine in engines]
    cases.sort(key=lambda case: not case.is_reference)
    cases += [Case(network, mode) for mode in MODES]
    if 0 < long_side < LARGE:
        # Only where the working size is larger than the one that is searched do the modes differ much.
        cases += [Case(network, mode, settings={"long_side": LARGE}) for mode in MODES]
    cases += [Case(wide)]
    cases += [Case(wide, "auto", *engine) for engine in engines if engine[1] != "fp32"]
    if recipe:
        cases += [Case(f"{name}, no gate", "tiles", "paddle", "fp32", recipe=True) for name in (wide, network)]
    return cases
