"""What all parts of a configuration have in common."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from sightline.policy import Policy

Fraction = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A frozen piece of configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false, in YAML also yes, no, on and off, which would count as 1 and 0."""
        kind = cls.model_fields[str(info.field_name)].annotation
        words = [word for part in (kind, *get_args(kind)) for word in get_args(part)]
        if isinstance(value, bool) and kind not in (bool, Policy) and "off" not in words:
            raise ValueError(f"got {str(value).lower()}, expected a value, not a switch")
        return value
