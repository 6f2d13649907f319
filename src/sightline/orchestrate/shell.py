"""How the runner's shell starts a task: by this Python, whatever its path, with nothing else of the command changed."""

from __future__ import annotations

import shlex

PROGRAM = "kfp.dsl.executor_main"  # part of the one shell script among the words of a task's command


def call_this_python() -> None:
    """Correct how kfp 2.17's runner puts this Python into a task's command.

    It writes the bare path in place of every "python3" that it meets, in the task's inputs as well: a path with a
    space in it ends the shell, and a run below `~/python3/` would look for its files below the interpreter.
    """
    from kfp.local import subprocess_task_handler

    def replaced(command: list[str], python: str) -> list[str]:
        return [word.replace("python3", shlex.quote(python)) if PROGRAM in word else word for word in command]

    subprocess_task_handler.replace_python_executable = replaced
