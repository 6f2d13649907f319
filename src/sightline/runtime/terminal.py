"""Safe output: untrusted text cannot steer the terminal; no encoding, closed pipe or missing console ends a command.

`prepare` is called once, before anything else. From then on printing cannot end a command: a character that the
console's encoding lacks is replaced by a similar one or an escape, and text whose reader is gone (`| head`, a closed
window) is dropped.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories of what steers a terminal, or cannot be printed
SUBSTITUTES = {
    "✔": "+",
    "✘": "x",
    "·": "-",
    "–": "-",
    "…": "...",
    "→": "->",
    "×": "x",
    "’": "'",
    "━": "-",
    "╸": "-",
    "╺": "-",
}
READER_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # of a pipe or terminal that is closed
ERRORS = "sightline"  # name of the codec error handler


def visible(text: str, keep: str = "") -> str:
    """Return text with its control characters (of file names, for example) as escapes, except those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN and char not in keep else char
        for char in text
    )


def visible_error(text: str) -> str:
    """Do the same for an error message, but keep the line breaks of its list of problems."""
    return visible(re.sub(r"\n(?! *- )", r"\\n", text), keep="\n")


class Terminal(Console):
    """A console for untrusted text: no emoji codes, and no control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape control characters in all that is printed, tables included."""
        return super().render_str(visible(text, keep="\n\t"), **options)


class Stream(io.TextIOWrapper):
    """Standard output or error. Text that cannot be written is dropped; `lost` says why, unless its reader is gone."""

    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        try:
            return super().write(text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write out the buffer."""
        try:
            super().flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if error.errno not in READER_GONE:
            self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def prepare() -> None:
    """Let standard output and error take any text, and this process and its children read files as UTF-8.

    Where the locale has another encoding for files or their names, the program restarts itself in Python's UTF-8 mode
    and keeps the console's encoding for what it prints.
    """
    codecs.register_error(ERRORS, _substituted)
    for descriptor in (0, 1, 2):  # a closed one would be given to the next file that is opened, such as a database
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if codecs.lookup(sys.getfilesystemencoding()).name != "utf-8" and "SIGHTLINE_UTF8" not in os.environ:
        encoding = sys.stdout.encoding if sys.stdout else "ascii"
        os.environ.update(PYTHONUTF8="1", PYTHONIOENCODING=f"{encoding}:backslashreplace", SIGHTLINE_UTF8="1")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.environ.pop("SIGHTLINE_UTF8", None)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name) or open(descriptor, "w", encoding="ascii", closefd=False)  # noqa: SIM115
        if isinstance(before, io.TextIOWrapper) and not isinstance(before, Stream):
            encoding, by_line = before.encoding, before.line_buffering or name == "stderr"
            stream = Stream(before.detach(), encoding=encoding, errors=ERRORS, line_buffering=by_line)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    os.environ.update(PYTHONUTF8="1", PYTHONIOENCODING="utf-8:backslashreplace")


def lost() -> OSError | None:
    """Flush standard output; return why some of it could not be written, None if all was or its reader is gone."""
    if not isinstance(sys.stdout, Stream):
        return None
    sys.stdout.flush()
    return sys.stdout.lost


def print_json(text: str) -> None:
    """Print JSON; characters that the console's encoding lacks become JSON escapes."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = re.sub(r"[^\x00-\x7f]", lambda found: _escapes(found[0]), text)
    print(text)


def _escapes(char: str) -> str:
    """Return the JSON escape of a character, or the two of one beyond 16 bits."""
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _substituted(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(SUBSTITUTES.get(char) or char.encode("unicode_escape").decode() for char in missing), error.end
