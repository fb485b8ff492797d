"""The command `uncover`: the project's scripts under one name, from any folder.

    uncover restore photos results          # every photo of a folder; results keep names and formats
    uncover restore photo.jpg results --save-mask
    uncover restore --ray auto SRC RESULTS  # on a Ray cluster
    uncover doctor                          # what this machine can do, and what to mend
    uncover COMMAND --help                  # examples and options, with their units
    uncover completion bash > ~/.local/share/bash-completion/completions/uncover         # the tab key; also zsh, fish

Exit codes, of all commands: 0 all done; 1 some inputs failed, each by name; 2 could not begin or go on; 130 stopped by
ctrl-C; 141 the reader of standard output went away.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from unittest.mock import patch

import uncover

# A command's name: the module whose main(arguments) it is, how that is started in the repository, what it does.
COMMANDS = {
    "restore": ("predict", "python predict.py", "removes what covers photographed documents"),
    "serve": ("app", "python app.py", "a page to drop photos on, and the same by HTTP"),
    "train": ("train", "python train.py", "trains a network as a config says"),
    "synthesis": ("data.synthesis.__main__", "python -m data.synthesis", "makes photos to train on"),
    "prepare": ("data_preparation", "python data_preparation.py", "cuts patches to train on"),
    "list": ("generate_meta_info", "python generate_meta_info.py", "lists patches worth training on"),
    "metrics": ("metrics.__main__", "python -m metrics", "measures results against the truth"),
    "export": ("inference.export", "python -m inference.export", "writes weights as ONNX files"),
    "convert": ("models.convert", "python -m models.convert", "brings in other people's weights"),
    "doctor": ("inference.doctor", "python -m utils.doctor", "what this machine can do, what to mend"),
    "completion": ("", "", "prints what lets a shell complete commands, options, choices and files"),
}
_LAYOUT = argparse.RawDescriptionHelpFormatter


def start(name: str, arguments: Sequence[str]) -> int:
    """Runs a command as its script would; its help tells of `uncover NAME`."""
    sys.argv = [f"uncover {name}", *arguments]  # where argparse looks for the program's name
    if name == "completion":
        return completion(arguments)
    room, script, _ = COMMANDS[name]
    module = uncover.room(room)
    module.__doc__ = re.sub(rf"{re.escape(script)}\b", f"uncover {name}", module.__doc__ or "")
    return module.main(list(arguments))


def completion(arguments: Sequence[str]) -> int:
    """Prints a script that lets a shell complete `uncover`; keep it in a file, since it takes seconds to make.

    uncover completion bash > ~/.local/share/bash-completion/completions/uncover
    uncover completion zsh > ~/.zfunc/_uncover          # a folder of fpath
    uncover completion fish > ~/.config/fish/completions/uncover.fish
    """
    parser = argparse.ArgumentParser(description=completion.__doc__, formatter_class=_LAYOUT)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that is to complete")
    shell = parser.parse_args(arguments).shell
    try:
        import shtab
    except ModuleNotFoundError:
        parser.error("shtab is not installed: pip install shtab")
    parser = argparse.ArgumentParser("uncover")
    parser.add_argument("--version", action="store_true", help="tells the version")
    commands = parser.add_subparsers()
    for name, (_, _, does) in COMMANDS.items():
        # A main() makes its parser and parses at once; that is where it is stopped.
        parsing = patch.object(argparse.ArgumentParser, "parse_args", autospec=True, side_effect=SystemExit)
        with parsing as caught, suppress(SystemExit):
            start(name, [])
        own = commands.add_parser(name, help=does, parents=[caught.call_args.args[0]], add_help=False)
        for action in own._actions:
            if action.nargs != 0 and not action.choices:
                action.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return 0


@uncover.room("utils.command").command()
def main(arguments: Sequence[str] | None = None) -> int:
    words = "\n".join(f"    {name:<12}{does}" for name, (_, _, does) in COMMANDS.items())
    usage = "uncover COMMAND ..., such as `uncover restore photos results`; `uncover --help` names all commands"
    parser = argparse.ArgumentParser("uncover", usage, f"{__doc__}\nCommands:\n\n{words}", formatter_class=_LAYOUT)
    parser.add_argument("--version", action="version", version=f"uncover {uncover.__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those above")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="those of the command; --help tells them")
    options = parser.parse_args(arguments)
    return start(options.command, options.arguments)


if __name__ == "__main__":
    raise SystemExit(main())
