"""What the shells run to have a command line completed."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_SSLKIT_COMPLETE"
"""The variable of the environment by which a shell asks."""

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    for completion in $(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="${COMP_WORDS[COMP_CWORD]}" \\
            %(complete_var)s=bash_complete $1); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            path) COMPREPLY+=("$value"); compopt -o filenames ;;
            part) COMPREPLY+=("$value"); compopt -o nospace ;;
            *) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion for bash, which takes a word apart at ``=`` and has to be told where a word goes on."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and what there is of the last one."""
        line, word = os.environ["COMP_LINE"], os.environ.get("COMP_WORD", "")
        words = split_arg_string(line)
        if line[-1:].isspace() and line[-2:-1] != "\\":
            words.append("")
        *before, last = words[1:] or [""]
        word = "" if word == "=" else word.lstrip("'\"")
        self._before_word = last[: len(last) - len(word)] if "=" in last else ""
        return before, last

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return a completion as the script above reads it."""
        kind = "path" if item.is_path else "part" if item.value.endswith("=") else item.type
        return f"{kind},{item.value.removeprefix(self._before_word)}"


add_completion_class(Bash)


def script_for(shell: str, command: click.Command) -> str:
    """Return the script that a shell has to run once, so that it completes a command."""
    completer = get_completion_class(shell)
    assert completer is not None, "the command offers no other shells"
    return completer(command, {}, "sslkit", VARIABLE).source()
