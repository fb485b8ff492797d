"""Combinations of settings that cannot work together, and files that a config names and that have to be there.

Every refusal is a `ConfigError` that names the key's path, what is wrong and what would be right.
"""

from __future__ import annotations

from pathlib import Path

from configs.parsing import ConfigError
from configs.schema import Config, PredictConfig


def check(config: Config) -> None:
    """Refuses a config that could not train, or would silently train something else than it says."""
    _check_locator(config)
    _check_stages(config)
    _check_loss(config)
    _check_schedule(config)
    _check_rest(config)
    _check_scale(config)


def _check_locator(config: Config) -> None:
    if config.model.network == "locator":
        if config.model.gate or config.predict.fill != "page":
            raise ConfigError("model.network: a locator has no gate and paints nothing; set model.gate: false and "
                              "predict.fill: page")
        if not config.data.whole or any(stage.patch % 32 for stage in config.train.stages):
            raise ConfigError("model.network: a locator sees whole photographs; set data.whole: true, and stages whose "
                              "patch is a multiple of 32")
    elif config.data.whole:
        raise ConfigError("data.whole: true is for model.network: locator; a NAFNet learns from patches")


def _check_stages(config: Config) -> None:
    if not config.train.stages:
        raise ConfigError("train.stages: empty; at least one stage is needed")
    total = sum(stage.iterations for stage in config.train.stages)
    if total != config.train.iterations:
        raise ConfigError(
            f"train.stages: their iterations add up to {total}, but train.iterations is {config.train.iterations}"
        )
    for index, stage in enumerate(config.train.stages):
        if not config.data.whole and stage.patch > config.data.crop:
            raise ConfigError(
                f"train.stages.{index}.patch: {stage.patch} is larger than the stored patches (data.crop: "
                f"{config.data.crop}); prepare larger ones with `data_preparation.py --size {stage.patch}`"
            )


def _check_loss(config: Config) -> None:
    names = [term.name for term in config.loss]
    for index, term in enumerate(config.loss):
        if term.name in names[:index]:
            raise ConfigError(f"loss.{index}.name: {term.name} is listed twice; give one term the sum of the weights")
        if config.model.network == "locator" and set(term.inputs) != {"mask_logit", "mask"}:
            raise ConfigError(f"loss.{index}.name: {term.name} compares pictures, and a locator paints none; take "
                              "mask_bce and mask_dice")
        if term.needs_gate and not config.model.gate and config.model.network != "locator":
            raise ConfigError(
                f"loss.{index}.name: {term.name} needs the occlusion mask; set model.gate: true or remove the term"
            )
        for number, stage in enumerate(config.train.stages):
            if stage.patch < term.minimum_patch:
                raise ConfigError(
                    f"train.stages.{number}.patch: {stage.patch} is too small for loss.{index} ({term.name}), which "
                    f"needs at least {term.minimum_patch}"
                )
    counting = [term for term in config.loss if term.weight]
    if not counting:
        raise ConfigError("loss: at least one term with a weight above 0 is needed, such as {name: l1, weight: 1.0}")
    if config.model.gate and not any("mask_logit" in term.inputs for term in counting):
        raise ConfigError(
            "model.gate: true, but no term of the loss compares the predicted occlusion mask, so nothing would teach "
            "it; add mask_bce or mask_dice to loss (with a weight above 0), or set model.gate: false"
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


def _check_rest(config: Config) -> None:
    network = config.model.arguments()
    down, up = len(network["encoder_blocks"]), len(network["decoder_blocks"])
    if down != up:
        raise ConfigError(
            f"model.decoder_blocks: {up} levels up, but {down} down (model.encoder_blocks, preset "
            f"{config.model.preset}); they have to be equally many"
        )
    if config.data.paste.printed_photos and not config.data.paste.probability:
        raise ConfigError("data.paste.printed_photos: has no effect while data.paste.probability is 0")
    if config.validation.every and config.data.val_pages is None:
        raise ConfigError("validation.every: there are no pages to validate on; give data.val_pages or set it to 0")
    if config.predict.tlc_ratio and config.predict.tlc_ratio * config.predict.tlc_train_size < 1:
        raise ConfigError("predict.tlc_ratio: the window is smaller than a pixel; 0 turns TLC off")


def _check_scale(config: Config) -> None:
    """A network that learnt on halved photos sees everything twice as large when predicting at full size."""
    if config.data.whole:
        return
    trained, predict, default = config.data.downscale, config.predict, PredictConfig().long_side
    # The default bound holds for any network, and so it says nothing about the size that this one learns at.
    own_size = predict.downscale == 1 and predict.long_side not in (0, default)
    if predict.downscale != trained and not own_size:
        raise ConfigError(
            f"predict.downscale: {predict.downscale}, but the patches come from photos shrunk by data.downscale "
            f"{trained}; set both to the same, or give the size by a predict.long_side of its own (other than the "
            f"default {default}) with predict.downscale: 1"
        )


def check_lists(config: Config) -> None:
    """Refuses a config whose lists of patches and pages are not there yet; what they hold is not looked at."""
    if config.validation.every and config.data.val_pages is not None:
        _require_file(
            "data.val_pages", config.data.val_pages,
            "run data_preparation.py first, or train without validation (data.val_pages: null, validation.every: 0)",
        )
    _require_file("data.train_list", config.data.train_list, "run data_preparation.py and generate_meta_info.py first")


def check_init(config: Config) -> None:
    """Refuses initial weights that are not there."""
    if config.train.init is not None:
        _require_file(
            "train.init", config.train.init,
            "train the config that it comes from first, give other weights (.pdparams), or null for random ones",
        )


def _require_file(key: str, path: str, remedy: str) -> None:
    if not Path(path).is_file():
        what = "is a folder, expected a file" if Path(path).is_dir() else "does not exist"
        raise ConfigError(f"{key}: {path} {what}; {remedy}")
