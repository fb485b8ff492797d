"""What is compared: engines, precisions, modes, widths, and the write-up's recipe. Imports no engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference.engines.choice import PRECISIONS

STEPS = ("decode", "locate", "restore", "compose", "encode")
MODES = ("auto", "tiles", "full")
# The engine whose results the others are compared with.
REFERENCE = ("paddle", "fp32")
# The working size of the write-up ("2K"), tried beside a smaller one that the weights may ask for.
LARGE = 2048


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        network: which of the networks in `networks` ("width 16", "width 32", "width 16, no gate" ...).
        mode: of `Restorer`.
        backend, precision, device: of `open_backend`.
        settings: what replaces the `PredictConfig` of the weights.
        note: what else sets this case apart, in words.
        recipe: the write-up's prediction: one photo, once, not through the pipeline.
        comparable: does what the reference does, so that its pixels are compared with the reference's.
    """

    network: str
    mode: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    device: str = "cpu"
    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    recipe: bool = False
    comparable: bool = False

    @property
    def name(self) -> str:
        """Unique among the cases of a run, short, for tables and --only."""
        device = "" if self.device in ("cpu", "auto") else f" on {self.device}"
        engine = "auto" if self.backend == "auto" else f"{self.backend} {self.precision}{device}"
        return ", ".join((self.network, self.note or f"mode {self.mode}", engine))

    @property
    def is_reference(self) -> bool:
        """Whose results the others are compared with."""
        return self.comparable and (self.backend, self.precision, self.device) == (*REFERENCE, "cpu")

    @property
    def is_default(self) -> bool:
        """What `predict.py` does when it is asked for nothing."""
        return self == Case(self.network, device="auto", comparable=self.comparable) and not self.recipe


def engines(devices: Sequence[str]) -> list[tuple[str, str, str]]:
    """Every (backend, precision, device) that exists on `devices` ("cpu", "gpu:0"), the reference first."""
    found = [
        (backend, precision, device)
        for device in devices
        for backend, precisions in PRECISIONS[device.partition(":")[0]].items()
        for precision in precisions
    ]
    reference = (*REFERENCE, "cpu")
    return sorted(found, key=lambda engine: engine != reference)


def all_cases(
    network: str, wide: str | None, long_side: int, devices: Sequence[str], recipe: bool = True
) -> list[Case]:
    """The rows of a run, in the order in which they are measured.

    Args:
        network: the name of the network that the weights hold.
        wide: the name of the one of twice the width; None when there is none.
        long_side: of the working size that the weights ask for.
        devices: "cpu", and a GPU that works.
        recipe: also the write-up's, which takes minutes.
    """
    cases = [
        Case(network, backend=backend, precision=precision, device=device, comparable=True)
        for backend, precision, device in engines(devices)
    ]
    cases += [Case(network, mode=mode, device="auto") for mode in MODES]
    if 0 < long_side < LARGE:
        # Only where the working size is larger than the one that is searched do the modes differ much.
        cases += [_larger(network, mode) for mode in MODES]
    if wide:
        cases.append(Case(wide, device="auto", comparable=True))
        cases.extend(
            Case(wide, backend=backend, precision=precision, device=device, comparable=True)
            for backend, precision, device in engines(devices)
            if precision != "fp32"
        )
        if 0 < long_side < LARGE:
            cases.append(_larger(wide, "auto"))
    if recipe:
        backend, precision = REFERENCE
        cases.extend(
            Case(f"{name}, no gate", "tiles", backend, precision, note="the write-up's recipe", recipe=True)
            for name in (wide, network)
            if name
        )
    return cases


def _larger(network: str, mode: str) -> Case:
    note = f"mode {mode}, working at {LARGE} px"
    return Case(network, mode=mode, device="auto", settings={"long_side": LARGE}, note=note)


def matching(cases: Iterable[Case], words: Sequence[str]) -> list[Case]:
    """The cases whose name holds one of `words`; all of them without words."""
    return [case for case in cases if not words or any(word in case.name for word in words)]
