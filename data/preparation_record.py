"""preparation.json: how the patches of a folder were cut. Written by data_preparation.py, compared with configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.parsing import ConfigError
from utils.atomic import write_text

if TYPE_CHECKING:
    from configs.schema import DataConfig

RECORD_NAME = "preparation.json"
# One folder may hold the full-data set beside training and validation; each has an entry of its own in the record.
ALL_DATA, DIVIDED_DATA = "all", "train and val"


class RecordError(ValueError):
    """A record that cannot be read; the message names the file."""


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries by key, `ALL_DATA` and `DIVIDED_DATA`; empty without a file.

    Each entry has at least "size" and "downscale", as the command line had them.

    Raises:
        RecordError: the file is not such a record.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
        for entry in record.values():
            int(entry["size"]), int(entry["downscale"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is not the record of data_preparation.py ({error!r})") from error
    return record


def write_entry(folder: Path, key: str, entry: dict[str, Any]) -> None:
    """Puts one entry into the record of `folder`; another one that stands there stays.

    Raises:
        RecordError: there is a file already, and it is not a record.
    """
    record = read_record(folder) | {key: entry}
    write_text(folder / RECORD_NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def check_preparation(data: DataConfig) -> None:
    """Compares `crop` and `downscale` with the record beside the list of patches; without a record nothing is checked.

    A network that is used at another scale than it was trained at fails without a word, so a config that is wrong
    about its patches must not start.

    Raises:
        ConfigError: they differ, or the record cannot be read.
    """
    train_list = Path(data.train_list)
    try:
        record = read_record(train_list.parent)
    except RecordError as error:
        raise ConfigError(f"data.train_list: {error}") from error
    for name, entry in record.items():
        if (name == ALL_DATA) != (train_list.stem == ALL_DATA):
            continue
        for key, said, recorded in (
            ("crop", data.crop, entry["size"]),
            ("downscale", data.downscale, entry["downscale"]),
        ):
            if said != recorded:
                raise ConfigError(
                    f"data.{key}: {said}, but the patches of {train_list} were cut with {recorded} "
                    f"({train_list.with_name(RECORD_NAME)})"
                )
