"""Draws progress events as bars: one line per stage on stderr; plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from sightline.runtime import progress
from sightline.runtime.terminal import Terminal, visible


class Bars:
    """Follows a file of events in a thread until the block ends."""

    def __init__(self, path: Path, console: Console | None = None) -> None:
        """Follow `path`; draw on `console`, by default stderr."""
        self.path = path
        self.console = console or Terminal(stderr=True, highlight=False, emoji=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._tasks: dict[str, TaskID] = {}
        self._note = ""
        self._says: set[str] = set()  # stages that have a line of their own for what happens
        self._progress = Progress(
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> Bars:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        offset = 0
        live = self.console.is_terminal and not self.console.is_dumb_terminal
        if live:
            self._progress.start()
        try:
            while True:
                last_round = self._stop.wait(0.1)
                found, offset = progress.events(self.path, offset)
                for event in found:
                    self._draw(event)
                if last_round:
                    return
        finally:
            if live:
                self._progress.stop()

    def _draw(self, event: dict[str, Any]) -> None:
        stage, kind = event.get("stage", ""), event["event"]
        if kind == "notice":
            self._progress.console.print(f"  note: {event['text']}", markup=False, soft_wrap=True)
        if kind in ("start", "progress") and stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=None, note="")  # moves without a known total
        if kind == "progress":
            note = event.get("note", "")
            if note not in ("", self._note) and not self.console.is_terminal and stage not in self._says:
                self._progress.console.print(f"  {stage:<10} {note}")
            self._note = note
            self._progress.update(
                self._tasks[stage], completed=event["done"], total=event["total"], note=event.get("note", "")
            )
        elif kind in ("note", "line"):
            if kind == "line":
                self._says.add(stage)
            said = visible(event["note" if kind == "note" else "text"])
            self._progress.console.print(Text(f"  {stage:<10} {said}"), soft_wrap=True)
        elif kind in ("end", "failed"):
            if stage in self._tasks:
                self._progress.remove_task(self._tasks.pop(stage))
            mark = {"end": "[green]✔[/]", "failed": "[red]✘[/]"}[kind]
            seconds = f"{event['seconds']:6.1f} s" if "seconds" in event else "        "
            self._progress.console.print(f"{mark} {stage:<10} {seconds}  {event.get('note', '')}")


@contextlib.contextmanager
def display(quiet: bool = False, path: Path | None = None) -> Iterator[Path]:
    """Draw the events that this process and its children emit while the block runs, on stderr.

    `path` keeps the events in a file; without it a temporary file is used. `quiet` records and draws nothing.
    """
    with contextlib.ExitStack() as stack:
        if path is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-"))
            path = Path(folder) / "progress.jsonl"
        path.touch()
        before = os.environ.get(progress.VARIABLE)
        os.environ[progress.VARIABLE] = str(path)
        stack.callback(_restore, before)
        if not quiet:
            stack.enter_context(Bars(path))
        yield path


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(progress.VARIABLE, None)
    else:
        os.environ[progress.VARIABLE] = before
