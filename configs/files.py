"""Files that a config names and that have to be there; a refusal names the key and what makes the file."""

from __future__ import annotations

from pathlib import Path

from configs.parsing import ConfigError
from configs.schema import Config


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
