"""configs/README.md is written by hand; its keys and defaults have to be the schema's."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from configs.load import _parse_yaml
from configs.schema import AnyTerm, Config, LossTerm

README = Path("configs/README.md").read_text("utf-8")


def settings_of(cls: type, path: str = "") -> Iterator[tuple[str, object]]:
    """(key, default) of every plain setting below `cls`, as the README names them."""
    hints = get_type_hints(cls)
    for item in fields(cls):
        assert item.metadata["explanation"].endswith(".")
        key, arguments = path + item.name, get_args(hints[item.name])
        if is_dataclass(hints[item.name]):
            yield from settings_of(hints[item.name], f"{key}.")
        elif get_origin(hints[item.name]) is tuple and is_dataclass(arguments[0]):
            yield from settings_of(arguments[0], f"{key}.N.")
        else:
            yield key, item.default


def test_the_tables_hold_every_key_with_its_default() -> None:
    tables = README.split("## Terms of the loss")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", tables, re.MULTILINE))
    settings = dict(settings_of(Config))
    assert rows.keys() == settings.keys()
    for key, default in settings.items():
        if default is MISSING:
            assert rows[key] == ("see below" if key == "loss" else "required"), key
        else:
            found = _parse_yaml(rows[key].strip("`"))
            assert (tuple(found) if isinstance(found, list) else found) == default, key


def test_the_table_of_terms_holds_every_term_with_its_settings() -> None:
    section = README.split("## Terms of the loss")[1]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ([^|]+) \|$", section, re.MULTILINE)
    terms = get_args(AnyTerm)
    assert [row[0] for row in rows] == [term.name for term in terms]
    for term, (_, settings, needs, meaning) in zip(terms, rows, strict=True):
        own = {item.name: item.default for item in fields(term)[len(fields(LossTerm)) :]}
        assert {key: float(value) for key, value in re.findall(r"`(\w+)`: .*?\(default ([\d.]+)\)", settings)} == own
        assert ("model.gate: true" in needs) == (not {"mask_logit", "restored"}.isdisjoint(term.inputs))
        assert (f"patches of at least {term.minimum_patch}" in needs) == (term.minimum_patch > 1)
        assert meaning == term.__doc__
