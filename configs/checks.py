"""Combinations of settings that are fine one by one and cannot work together; every refusal names the key's path.

Files that a config names and that have to be there; a refusal names the key and what makes the file.
"""

from __future__ import annotations

from pathlib import Path

from configs.parsing import ConfigError, join
from configs.schema import Config, PredictConfig
from losses import settings as terms
from models.presets import resolve

# The terms that say whether the predicted mask is right; `fill` only reads the true one.
MASK_TERMS = tuple(name for name, spec in terms.TERMS.items() if "mask_logit" in spec.inputs)


def check(config: Config) -> None:
    """Refuses a config that could not train, or would silently train something else than it says.

    The terms of the loss are expected to be complete (`losses.settings.normalise_terms`).

    Raises:
        ConfigError: with the key's path, what is wrong and what would be right.
    """
    _check_stages(config)
    _check_loss(config)
    _check_schedule(config)
    _check_model(config)
    _check_data(config)
    _check_scale(config)


def _check_stages(config: Config) -> None:
    if not config.train.stages:
        raise ConfigError("train.stages: empty; at least one stage is needed")
    total = sum(stage.iterations for stage in config.train.stages)
    if total != config.train.iterations:
        raise ConfigError(
            f"train.stages: their iterations add up to {total}, but train.iterations is {config.train.iterations}"
        )
    for index, stage in enumerate(config.train.stages):
        if stage.patch > config.data.crop:
            raise ConfigError(
                f"train.stages.{index}.patch: {stage.patch} is larger than the stored patches (data.crop: "
                f"{config.data.crop}); prepare larger ones with `data_preparation.py --size {stage.patch}`"
            )


def _check_loss(config: Config) -> None:
    for index, term in enumerate(config.loss):
        path = join("loss", index)
        if "data_range" in term and term["data_range"] != config.data.value_range:
            raise ConfigError(
                f"{path}.data_range: {term['data_range']} does not match data.value_range "
                f"{config.data.value_range}; {term['name']} would be weighed wrongly by orders of magnitude"
            )
        if terms.needs_gate([term]) and not config.model.gate:
            raise ConfigError(
                f"{path}.name: {term['name']} needs the occlusion mask; set model.gate: true or remove the term"
            )
        smallest = terms.minimum_patch([term])
        for number, stage in enumerate(config.train.stages):
            if stage.patch < smallest:
                raise ConfigError(
                    f"train.stages.{number}.patch: {stage.patch} is too small for {path} ({term['name']}), which needs "
                    f"at least {smallest}"
                )
    if config.model.gate and not any(term["name"] in MASK_TERMS and term["weight"] for term in config.loss):
        raise ConfigError(
            "model.gate: true, but no term of the loss compares the predicted occlusion mask, so nothing would teach "
            f"it; add {' or '.join(MASK_TERMS)} to loss (with a weight above 0), or set model.gate: false"
        )


def _check_schedule(config: Config) -> None:
    schedule, iterations = config.schedule, config.train.iterations
    borders = [0, *schedule.restarts, iterations]
    for index, (before, restart) in enumerate(zip(borders, schedule.restarts, strict=False)):
        if restart <= before:
            raise ConfigError(f"schedule.restarts.{index}: {restart} does not come after {before}")
        if restart >= iterations:
            raise ConfigError(f"schedule.restarts.{index}: {restart} is not inside the run's {iterations} iterations")
    periods = len(schedule.restarts) + 1
    if len(schedule.eta_min) not in (1, periods):
        raise ConfigError(
            f"schedule.eta_min: {len(schedule.eta_min)} values, expected one for all or one for each of the "
            f"{periods} periods ({len(schedule.restarts)} restarts + 1)"
        )
    for index, lowest in enumerate(schedule.eta_min):
        if lowest > config.optimizer.learning_rate:
            raise ConfigError(
                f"schedule.eta_min.{index}: {lowest} is above optimizer.learning_rate {config.optimizer.learning_rate}"
            )
    if schedule.warmup > borders[1]:
        raise ConfigError(f"schedule.warmup: {schedule.warmup} is longer than the first period ({borders[1]})")


def _check_model(config: Config) -> None:
    network = resolve(config.model.preset, **config.model.overrides())
    down, up = len(network["encoder_blocks"]), len(network["decoder_blocks"])
    if down != up:
        raise ConfigError(
            f"model.decoder_blocks: {up} levels up, but {down} down (model.encoder_blocks, preset "
            f"{config.model.preset}); they have to be equally many"
        )


def _check_data(config: Config) -> None:
    data = config.data
    if data.value_range != 1.0:
        raise ConfigError(f"data.value_range: {data.value_range}; networks and predictor work on 0 .. 1, expected 1.0")
    if data.paste.printed_photos and not data.paste.probability:
        raise ConfigError("data.paste.printed_photos: has no effect while data.paste.probability is 0")
    if config.validation.every and data.val_pages is None:
        raise ConfigError("validation.every: there are no pages to validate on; give data.val_pages or set it to 0")
    if config.predict.tlc_ratio and config.predict.tlc_ratio * config.predict.tlc_train_size < 1:
        raise ConfigError("predict.tlc_ratio: the window is smaller than a pixel; 0 turns TLC off")


def _check_scale(config: Config) -> None:
    """A network that learnt on halved photos sees everything twice as large when predicting at full size."""
    trained, predict = config.data.downscale, config.predict
    # The default bound holds for any network, and so it says nothing about the size that this one learns at.
    own_size = predict.downscale == 1 and predict.long_side not in (0, PredictConfig().long_side)
    if predict.downscale != trained and not own_size:
        raise ConfigError(
            f"predict.downscale: {predict.downscale}, but the patches come from photos shrunk by data.downscale "
            f"{trained}; set both to the same, or give the size by a predict.long_side of its own (other than the "
            f"default {PredictConfig().long_side}) with predict.downscale: 1"
        )


def check_lists(config: Config) -> None:
    """Refuses a config whose lists of patches and pages are not there yet; what they hold is not looked at.

    Raises:
        ConfigError: names the key, the file and the script that writes it.
    """
    pages = config.data.val_pages
    if config.validation.every and pages is not None:
        require_file(
            "data.val_pages", pages,
            "run data_preparation.py first, or train without validation (data.val_pages: null, validation.every: 0)",
        )
    require_file("data.train_list", config.data.train_list, "run data_preparation.py and generate_meta_info.py first")


def check_init(config: Config) -> None:
    """Refuses initial weights that are not there.

    Raises:
        ConfigError: names the key and the file.
    """
    if config.train.init is not None:
        require_file(
            "train.init", config.train.init,
            "train the config that it comes from first, give other weights (.pdparams), or null for random ones",
        )


def require_file(key: str, path: str, remedy: str) -> None:
    """Raises `ConfigError` with the key, the path and the remedy unless `path` is a file."""
    if not Path(path).is_file():
        what = "is a folder, expected a file" if Path(path).is_dir() else "does not exist"
        raise ConfigError(f"{key}: {path} {what}; {remedy}")
