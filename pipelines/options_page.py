"""Renders the settings of a training for `src/sightline/config/README.md`."""

from __future__ import annotations

from pydantic_core import PydanticUndefined

from sightline import expected
from sightline.config import TrainConfig
from sightline.config.elsewhere import ours, settings
from sightline.config.engine_settings import GONE, REASONS, TAKEN, Setting, values_of
from sightline.config.train_config import NOTED

BEGIN, END = "<!-- settings: rendered by `make compile` -->\n", "<!-- end of settings -->\n"


def rendered(table: dict[str, Setting]) -> str:
    """Return the tables: our settings, and those of the engine that are taken and refused."""
    left = sorted({*table} - {*ours(TrainConfig, "train."), *TAKEN, *REASONS})
    assert not left, f"the engine has settings for which config/engine_settings.py decides nothing: {left}"
    return f"\n{_options()}\n### train.engine\n\n{_taken(table)}\n{_refused()}"


def _options() -> str:
    rows = ["| key | values | default | Ultralytics | YOLOv5 | meaning |", "|---|---|---|---|---|---|"]
    for key, model, name, field, names in settings(TrainConfig, "train."):
        if name == NOTED:
            continue
        default = field.default_factory() if field.default_factory else field.default  # type: ignore[call-arg]
        assert default is not PydanticUndefined, key
        shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        cells = (f"`{key}`", expected.describe(model, name), f"`{shown}`", _code(names.engine), _code(names.yolov5))
        rows.append(f"| {' | '.join((*cells, field.description or ''))} |")
    return "\n".join(rows) + "\n"


def _taken(table: dict[str, Setting]) -> str:
    rows = ["| taken | values | meaning |", "|---|---|---|"]
    rows += [f"| `{name}` | {values_of(table[name])} | {meaning} |" for name, meaning in TAKEN.items()]
    return "\n".join(rows) + "\n"


def _refused() -> str:
    """Group the refused names by their reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in {**REASONS, **GONE}.items():
        reasons.setdefault(reason, []).append(name)
    rows = ["| refused | because |", "|---|---|"]
    rows += [f"| {', '.join(map(_code, names))} | {reason} |" for reason, names in reasons.items()]
    return "\n".join(rows) + "\n"


def _code(name: str) -> str:
    return f"`{name}`" if name else ""
