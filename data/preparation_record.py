"""How the patches of a folder were cut, as data_preparation.py recorded it, against what a config believes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from configs.parsing import ConfigError

if TYPE_CHECKING:
    from configs.schema import DataConfig

RECORD_NAME = "preparation.json"
_ALL_DATA = "all"


def check_preparation(data: DataConfig) -> None:
    """Compares `crop` and `downscale` with the record beside the list of patches; without a record nothing is checked.

    A network that is used at another scale than it was trained at fails without a word, so a config that is wrong
    about its patches must not start.

    Raises:
        ConfigError: they differ, or the record cannot be read.
    """
    train_list = Path(data.train_list)
    path = train_list.with_name(RECORD_NAME)
    if not path.is_file():
        return
    try:
        record = json.loads(path.read_text("utf-8"))
        # One folder may hold the full-data set beside training and validation.
        sets = [values for name, values in record.items() if (name == _ALL_DATA) == (train_list.stem == _ALL_DATA)]
        found = [(values["size"], values["downscale"]) for values in sets]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"data.train_list: {path} is not the record of data_preparation.py ({error!r})") from error
    for size, downscale in found:
        for key, said, recorded in (("crop", data.crop, size), ("downscale", data.downscale, downscale)):
            if said != recorded:
                raise ConfigError(
                    f"data.{key}: {said}, but the patches of {train_list} were cut with {recorded} ({path})"
                )
