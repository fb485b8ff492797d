"""Checks a config and prints it with every value written out: python -m configs configs/smoke.yml -o seed=3."""

from __future__ import annotations

import argparse
import sys

from configs.load import load_config, to_yaml
from configs.parsing import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m configs", description=__doc__)
    parser.add_argument("config", help="YAML file, see configs/README.md")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        print(to_yaml(load_config(options.config, options.override)), end="")
    except (ConfigError, FileNotFoundError) as error:
        print(f"configs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
