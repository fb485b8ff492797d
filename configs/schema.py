# ruff: noqa: RUF009 - `setting` is `dataclasses.field` with the explanation filled in.
"""Every setting of a run, with its type, default, limits and one sentence of explanation, and how values become them.

`configs.load` reads the values from YAML; `configs/README.md` explains the settings at length.
"""

import math
import reprlib
import types
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, make_dataclass
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from utils.files import printable

# Arguments of `models.nafnet.NAFNet`. The write-up's "one block per down-sampling, ten at the deepest" can be read in
# two ways: the first two (21.16 and 8.70 M parameters, 8.6 GMAC for 256x256). The third (5.34 M, 2.2 GMAC) is the size
# of the shipped weights, for CPUs; the last learns within minutes, for smoke runs and tests, and is of no other use.
PRESETS: dict[str, dict[str, Any]] = {
    "w32_middle10": {"width": 32, "encoder_blocks": [1, 1, 1, 1], "middle_blocks": 10, "decoder_blocks": [1, 1, 1, 1]},
    "w32_encoder10": {"width": 32, "encoder_blocks": [1, 1, 1, 10], "middle_blocks": 1, "decoder_blocks": [1, 1, 1, 1]},
    "w16_middle10": {"width": 16, "encoder_blocks": [1, 1, 1, 1], "middle_blocks": 10, "decoder_blocks": [1, 1, 1, 1]},
    "tiny": {"width": 8, "encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]},
}

# Arguments of `models.restormer.Restormer`: the published size (26.1 M parameters), two that take about as many
# multiply-adds as NAFNet's w32_middle10 and w16_middle10, and one for smoke runs and tests.
RESTORMER_PRESETS: dict[str, dict[str, Any]] = {
    "restormer": {"dim": 48, "num_blocks": [4, 6, 6, 8], "num_refinement_blocks": 4},
    "restormer_dim16": {"dim": 16, "num_blocks": [1, 2, 3, 6], "num_refinement_blocks": 2},
    "restormer_dim10": {"dim": 10, "num_blocks": [1, 1, 1, 2], "num_refinement_blocks": 1},
    "restormer_tiny": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
}


def setting(explanation: str, default: Any = MISSING, minimum: float | None = None, maximum: float | None = None):
    """A documented dataclass field; without a default the key must be given. The limits hold for list items too."""
    return field(default=default, metadata={"explanation": explanation, "minimum": minimum, "maximum": maximum})


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: a preset, and single values that replace the preset's; a locator has one size."""

    network: Literal["nafnet", "locator", "restormer"] = setting("A locator finds, the others restore.", "nafnet")
    preset: Literal[*PRESETS, *RESTORMER_PRESETS] = setting("Width and blocks per level by name.", "w32_middle10")
    width: int | None = setting("Channels of the first level; null keeps the preset's.", None, 1, 1024)
    encoder_blocks: tuple[int, ...] | None = setting("Blocks of each level on the way down.", None, 0, 100)
    middle_blocks: int | None = setting("Blocks at the deepest level.", None, 0, 100)
    decoder_blocks: tuple[int, ...] | None = setting("Blocks of each level on the way up.", None, 0, 100)
    gate: bool = setting("Adds the occlusion mask as an output; what is not covered stays as it is.", False)
    mask_input: bool = setting("A restorer: the page fill and the mask go in, and only the hole is painted.", False)

    def arguments(self) -> dict[str, Any]:
        """The network's arguments: of a NAFNet the preset's, but for the values that are not null."""
        if self.network == "restormer":
            return RESTORMER_PRESETS[self.preset]
        own = {key: value for key, value in asdict(self).items() if key not in ("network", "preset")}
        return {**PRESETS[self.preset], **{key: value for key, value in own.items() if value is not None}}


@dataclass(frozen=True, kw_only=True)
class PasteConfig:
    """Occluders pasted on clean patches while training (`data.synthesis.paste`)."""

    probability: float = setting("Share of samples whose stored occlusion gives way to a fresh one.", 0.0, 0, 1)
    occluders: tuple[str, ...] = setting("Folders of cut-out hands and heads; none: the bundled ones.", ())
    style: Literal["contest", "natural"] = setting("Hard edges, or soft ones with shadows and other light.", "contest")
    printed_photos: float = setting("Share of these whose clean patch first gets a printed photograph.", 0.0, 0, 1)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which patches are trained on and what is done to them. Paths count from the folder where train.py is started."""

    train_list: str = setting("List file of training patches that generate_meta_info.py wrote.")
    val_pages: str | None = setting("List file of whole validation pages that data_preparation.py wrote.", None)
    whole: bool = setting("The list holds whole photographs, which are shrunk to a stage's patch.", False)
    crop: int = setting("Side of the stored patches in pixels; a stage cannot cut larger ones.", 1024, 1, 16384)
    downscale: int = setting("By how much data_preparation.py shrank the photos.", 2, 1, 64)
    flips: bool = setting("Mirrors patch and mask at random, left-right and upside down.", True)
    rotations: bool = setting("Turns patch and mask at random by multiples of 90 degrees.", True)
    workers: int = setting("Processes that load patches; 0 loads in the training process.", 4, minimum=0, maximum=256)
    paste: PasteConfig = setting("Occluders pasted while training.", PasteConfig())


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the progressive table: the patch grows while the batch shrinks."""

    iterations: int = setting("How many iterations the stage lasts.", minimum=1)
    batch: int = setting("Patches per iteration in each training process.", minimum=1, maximum=4096)
    patch: int = setting("Side of the square cut out, or long side of a whole photo.", minimum=1, maximum=16384)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, with what, from where."""

    iterations: int = setting("Iterations of the whole run; the stages have to add up to it.", minimum=1)
    stages: tuple[Stage, ...] = setting("The progressive table, in order.")
    amp: Literal["none", "fp16", "bf16"] = setting("Mixed precision, on a GPU only.", "none")
    ema_decay: float = setting("Decay of the weights' moving average, which is then shipped; 0: off.", 0.0, 0, 0.999999)
    init: str | None = setting("Weights file (.pdparams) to start from; null starts from random weights.", None)
    log_every: int = setting("Iterations between two lines of metrics.jsonl.", 100, minimum=1)
    save_every: int = setting("Iterations between two checkpoints.", 5000, minimum=1)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW."""

    learning_rate: float = setting("The rate at the start of every cosine period.", 2e-4, minimum=0)
    betas: tuple[float, float] = setting("Decay of the two moments.", (0.9, 0.999), minimum=0, maximum=0.999999)
    weight_decay: float = setting("Decoupled weight decay.", 1e-4, minimum=0)
    clip_norm: float = setting("Largest norm of all gradients together; 0 does not clip.", 0.01, minimum=0)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate falls along half a cosine in each period and jumps back up at each restart."""

    restarts: tuple[int, ...] = setting("Iterations at which a new period begins.", (), minimum=1)
    eta_min: tuple[float, ...] = setting("The rate that each period falls to, or one for all.", (1e-6,), minimum=0)
    warmup: int = setting("Iterations of linear rise at the very start of the run.", 0, minimum=0)


@dataclass(frozen=True, kw_only=True)
class LossTerm:
    """One term of the loss, chosen by its `name`; white is 1.0 in what it compares, as everywhere in training.

    `inputs` are the tensors that it compares (see `losses.total_loss`): "mask_logit" and "restored" are given by a
    network with `model.gate: true`, the latter also with `mask_input`. `minimum_patch` is its smallest side.
    """

    inputs: ClassVar[tuple[str, ...]] = ("result", "clean")
    minimum_patch: ClassVar[int] = 1

    name: str
    weight: float = setting("How much the term counts in the sum; at 0 it is computed and reported only.", 1.0, 0)


def _term(name: str, meaning: str, own: tuple[str, type, Any] | None = None, **constants: Any) -> type[LossTerm]:
    """The dataclass of one term, perhaps with a setting of its own."""
    settings = [("name", Literal[name], field(default=name)), *([own] if own else [])]
    namespace = {"__doc__": meaning, **constants}
    return make_dataclass(f"{name}_term", settings, bases=(LossTerm,), namespace=namespace, frozen=True, kw_only=True)


_MASKS = {"inputs": ("mask_logit", "mask")}
L1Term = _term("l1", "Mean absolute error.")
CharbonnierTerm = _term("charbonnier", "Mean of sqrt(error^2 + eps^2): L1 with a round bottom.",
                        ("eps", float, setting("Errors well under it count squared, others as they are.", 1e-3, 1e-8)))
MSSSIMTerm = _term("ms_ssim", "1 - MS-SSIM.", minimum_patch=161)
PSNRTerm = _term("psnr", "Minus the PSNR in dB, the mean over the patches.")
MaskBCETerm = _term("mask_bce", "Binary cross-entropy of the predicted mask.", **_MASKS)
MaskDiceTerm = _term("mask_dice", "1 - Dice overlap of the predicted mask: counts a small occluder as much as a large "
                     "one.", **_MASKS)
FillTerm = _term("fill", "Mean absolute error of the ungated restored picture inside the widened mask.",
                 ("radius", int, setting("By how many pixels the mask is widened on every side.", 4, 0)),
                 inputs=("restored", "clean", "mask"))  # fmt: skip

AnyTerm = L1Term | CharbonnierTerm | MSSSIMTerm | PSNRTerm | MaskBCETerm | MaskDiceTerm | FillTerm


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Validation restores whole pages with the predictor that users run."""

    every: int = setting("Iterations between two validations; 0 never validates.", 10000, minimum=0)
    pages: int = setting("How many of the held-out pages are used; 0 uses all of them.", 0, minimum=0)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How the trained network is used on a whole photo; travels inside the weights file."""

    rows: int = setting("Rows of tiles in mode `tiles`.", 2, 1, 64)
    columns: int = setting("Columns of tiles in mode `tiles`.", 2, 1, 64)
    overlap: int = setting("Pixels by which tiles overlap and are blended.", 64, minimum=0, maximum=4096)
    tlc_train_size: int = setting("Patch side that the local windows of TLC are derived from.", 256, minimum=1)
    tlc_ratio: float = setting("TLC window in units of tlc_train_size; 0 means no TLC.", 1.5, minimum=0)
    downscale: int = setting("The network sees the photo at 1/downscale of its size.", 1, 1, 64)
    long_side: int = setting("What is longer after downscale is shrunk to this for the network; 0: no bound.", 2048, 0)
    locate_long_side: int = setting("Long side of the copy on which `auto` finds; 0: the size restored at.", 1024, 0)
    overview_long_side: int = setting("Long side of a smaller copy on which `auto` looks as well; 0 looks once.", 0, 0)
    locator_sides: tuple[int, ...] = setting("Long sides of the copies on which a locator looks.", (512, 320), 32, 4096)
    tile: int = setting("Side of the tiles in which mode `auto` restores.", 512, minimum=128, maximum=4096)
    # At 0 every pixel of every photo would count as occluded.
    mask_threshold: float = setting("From which probability a pixel counts as occluded.", 0.5, 0.001, 1)
    fill: Literal["network", "page"] = setting("What is pasted: the network's picture or the page around.", "network")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The settings in a weights file, defaults for what is missing; `ConfigError` for unknown or bad ones."""
        return parse_dataclass(cls, values, "predict")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run."""

    output: str = setting("The run's folder: checkpoints, weights, metrics, curves and this file.")
    seed: int = setting("The same seed gives the same run, whatever the number of workers.", 0, minimum=0)
    model: ModelConfig = setting("The network.", ModelConfig())
    data: DataConfig = setting("What is trained on.")
    train: TrainConfig = setting("Stages and length.")
    optimizer: OptimizerConfig = setting("The optimiser.", OptimizerConfig())
    schedule: ScheduleConfig = setting("The learning rate over the run.", ScheduleConfig())
    loss: tuple[AnyTerm, ...] = setting("Terms of the loss: `name`, `weight`, and the term's own settings.")
    validation: ValidationConfig = setting("When and on how much.", ValidationConfig())
    predict: PredictConfig = setting("Prediction, for validation and for the weights file.", PredictConfig())


Parsed = TypeVar("Parsed")
_KINDS = {type(None): "null", bool: "true or false", int: "a whole number", float: "a number", str: "text",
          dict: "keys and values", list: "a list", tuple: "a list"}  # fmt: skip
_MAXIMA = {int: 2**31 - 1, float: 1e9}  # Above them a number is a slip, and what is computed from it would overflow.
_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxdict, _short.maxstring, _short.maxlong, _short.maxother = 2, 4, 4, 80, 40, 80


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type, out of range or impossible; the message names its key."""


def join(path: str, key: str | int) -> str:
    """The path of `key` below `path`, as `-o` takes it: train.stages.0.batch."""
    return f"{path}.{key}" if path else str(key)


def describe(value: Any) -> str:
    """A value and its kind in the words of YAML, for error messages."""
    return "null" if value is None else f"{_in_short(value)} ({_KINDS.get(type(value), type(value).__name__)})"


def _in_short(value: Any) -> str:
    try:
        return _short.repr(value)
    except ValueError:
        return "a number of thousands of digits"  # Python writes none that are so long.


def parse_dataclass(cls: type[Parsed], tree: Any, path: str = "") -> Parsed:
    """Makes `cls`, and what is nested in it, of dictionaries and lists; ConfigError names a key that does not fit."""
    if not isinstance(tree, dict):
        raise ConfigError(f"{path or 'the config'}: expected keys and values, got {describe(tree)}")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in tree:
        if key not in known:
            raise ConfigError(f"{printable(join(path, key))[:200]}: unknown key; known here: {', '.join(known)}")
    hints, values = get_type_hints(cls), {}
    for name, item in known.items():
        if name in tree:
            values[name] = _parse(hints[name], tree[name], join(path, name), item.metadata)
        elif item.default is MISSING:
            raise ConfigError(f"{join(path, name)}: missing; {item.metadata['explanation']}")
    return cls(**values)


def _parse(kind: Any, value: Any, path: str, limits: Any) -> Any:
    """Checks one value against its type hint and its limits."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        if not is_dataclass(arguments[0]):
            return None if value is None else _parse(arguments[0], value, path, limits)  # X | None
        # One of several dataclasses, by the name that the value gives.
        known = {cls.name: cls for cls in arguments}
        name = value.get("name") if isinstance(value, dict) else next(iter(known))
        if not isinstance(name, str) or name not in known:
            raise ConfigError(f"{join(path, 'name')}: expected one of {', '.join(known)}, got {describe(name)}")
        return parse_dataclass(known[name], value, path)
    if is_dataclass(kind):
        return parse_dataclass(kind, value, path)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path}: expected one of {', '.join(arguments)}, got {describe(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path}: expected a list, got {describe(value)}")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ConfigError(f"{path}: expected {len(arguments)} values, got {len(value)}")
        return tuple(_parse(arguments[0], item, join(path, index), limits) for index, item in enumerate(value))
    # bool is an int in Python, but `batch: true` is a mistake.
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ConfigError(f"{path}: expected {_KINDS[kind]}, got {describe(value)}")
    if kind is str and (not value or value != printable(value)):
        raise ConfigError(f"{path}: expected a text on one line that is not empty, got {describe(value)}")
    if kind in (int, float):
        minimum, maximum = limits["minimum"], _MAXIMA[kind] if limits["maximum"] is None else limits["maximum"]
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{path}: expected a finite number, got {value}")
        if minimum is not None and value < minimum:
            raise ConfigError(f"{path}: {_in_short(value)} is too small, expected at least {minimum}")
        if value > maximum:
            raise ConfigError(f"{path}: {_in_short(value)} is too large, expected at most {maximum}")
    return kind(value)
