"""When two class names are one: what of a name counts, and what is only the way that it is typed."""

from __future__ import annotations

import re
import unicodedata

SEPARATORS = re.compile(
    r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])"  # between letters
    r"|(?<=[^\W_])[\s_]+(?=[^\W_])"  # beside digits no minus
    r"|(?<=[^\W\d_]{2})-(?=\d)"  # but behind a word: class-1
)


def name_key(name: str) -> str:
    """Return a name without case, white space, Unicode form, and what separates words: traffic_light, Traffic Light.

    What is not seen, such as a zero-width space, is no part of it, nor is the dot over a Turkish capital i. Single
    letters keep their case: `a` and `A` are two classes of a set of letters.
    """
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    plain = " ".join(SEPARATORS.sub(" ", seen).split())
    return plain if len(plain) < 2 else plain.casefold().replace("i\u0307", "i")
