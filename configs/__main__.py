"""Prints the reference of all settings, or one config with every value written out.

    python -m configs                                   # the reference
    python -m configs --write                           # the reference into configs/README.md
    python -m configs configs/smoke.yml -o seed=3       # checks a config and prints it
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configs.load import load_config, to_yaml
from configs.parsing import ConfigError
from configs.reference import reference
from utils.files import write_text

PAGE = Path(__file__).with_name("README.md")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m configs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", help="a config to check and print instead of the reference")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--write", action="store_true", help=f"write the reference to configs/{PAGE.name}")
    options = parser.parse_args(arguments)
    if options.config is None:
        if options.override:
            parser.error("-o changes a config; name one")
        if options.write:
            write_text(PAGE, reference())
        else:
            print(reference(), end="")
        return 0
    if options.write:
        parser.error("--write writes the reference and takes no config")
    try:
        print(to_yaml(load_config(options.config, options.override)), end="")
    except (ConfigError, FileNotFoundError) as error:
        print(f"configs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
