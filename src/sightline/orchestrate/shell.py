"""Corrects how the runner's shell starts a task: with this Python, whatever its path, and nothing else changed."""

from __future__ import annotations

import shlex

PROGRAM = "kfp.dsl.executor_main"  # only the shell script in a task's command contains it


def call_this_python() -> None:
    """Correct how kfp 2.17's runner puts this Python into a task's command.

    It replaces every "python3" by the unquoted path, even in the task's inputs: a path with a space breaks the shell
    command, and a run below `~/python3/` would look for its files below the interpreter.
    """
    from kfp.local import subprocess_task_handler

    def replaced(command: list[str], python: str) -> list[str]:
        return [word.replace("python3", shlex.quote(python)) if PROGRAM in word else word for word in command]

    subprocess_task_handler.replace_python_executable = replaced
