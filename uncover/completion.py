"""Prints a script that lets a shell complete the commands of `uncover`, their options and those options' choices.

    uncover completion bash > ~/.local/share/bash-completion/completions/uncover
    uncover completion zsh > ~/.uncover.zsh    # and, in ~/.zshrc after compinit, source ~/.uncover.zsh
    uncover completion fish > ~/.config/fish/completions/uncover.fish

Kept in a file, since it takes seconds to ask every command. Where nothing fits, the shell completes names of files.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from shlex import quote
from unittest.mock import patch

from uncover.__main__ import COMMANDS

_BASH = """\
_uncover() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    if [ "$COMP_CWORD" = 1 ]; then COMPREPLY=($(compgen -W "{commands} --help --version" -- "$word")); return; fi
    case "${{COMP_WORDS[1]}} $before" in
{choices}    esac
    case "$word" in -*) ;; *) return ;; esac
    case "${{COMP_WORDS[1]}}" in
{options}    esac
}}
complete -o default -o bashdefault -F _uncover uncover
"""


class _Caught(BaseException):
    """Ends a main() at the place where it parses its arguments."""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser that a command's main() makes; nothing of the command is run."""

    def catch(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Caught(parser)

    with patch.object(argparse.ArgumentParser, "parse_args", catch):
        try:
            importlib.import_module(COMMANDS[name].module).main([])
        except _Caught as caught:
            return caught.args[0]
    raise AssertionError(f"{name} parses no arguments")


def actions() -> Iterator[tuple[str, argparse.Action]]:
    """(command, action) of all that can be completed."""
    for name in COMMANDS:
        yield from ((name, action) for action in parser_of(name)._actions if action.option_strings or action.choices)


def words(action: argparse.Action) -> str:
    return " ".join(map(str, action.choices or ()))


def bash() -> str:
    options, choices = dict.fromkeys(COMMANDS, "--version"), []
    for name, action in actions():
        options[name] += "".join(f" {option}" for option in action.option_strings)
        if action.choices:
            # An argument that is no option stands right after the command.
            cases = "|".join(quote(f"{name} {before}") for before in action.option_strings or [name])
            choices.append(f'    {cases}) COMPREPLY=($(compgen -W "{words(action)}" -- "$word")); return ;;\n')
    lines = (f'    {name}) COMPREPLY=($(compgen -W "{those}" -- "$word")) ;;\n' for name, those in options.items())
    return _BASH.format(commands=" ".join(COMMANDS), choices="".join(choices), options="".join(lines))


def fish() -> str:
    lines = ["complete -c uncover -n __fish_use_subcommand -l help", "complete -c uncover -l version"]
    for name, command in COMMANDS.items():
        lines.append(f"complete -c uncover -f -n __fish_use_subcommand -a {name} -d {quote(command.does)}")
    for name, action in actions():
        line = f"complete -c uncover -n '__fish_seen_subcommand_from {name}'"
        for option in action.option_strings:
            line += f" -l {option[2:]}" if option.startswith("--") else f" -s {option[1:]}"
        line += f" -x -a {quote(words(action))}" if action.choices else " -r" if action.nargs != 0 else ""
        lines.append(line + (f" -d {quote(action.help % vars(action))}" if action.help else ""))
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that is to complete")
    shell = parser.parse_args(arguments).shell
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    print(start + (fish() if shell == "fish" else bash()), end="")
    return 0
