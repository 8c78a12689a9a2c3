"""The base of all that pydantic reads here: faults, plans, packages and the bodies of control requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from typing_extensions import Self


class Model(BaseModel):
    """A model that takes no unknown fields; its ``read`` takes no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def read(cls, fields: Any) -> Self:
        """The model with these fields. Raises ValueError that names the field and says what is wrong."""
        return cls._validated(fields, strict=True)

    @classmethod
    def _validated(cls, fields: Any, *, strict: bool) -> Self:
        try:
            return cls.model_validate(fields, strict=strict)
        except ValidationError as error:
            raise ValueError(cls._explained(error)) from None

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """What each field means, in reStructuredText, by the name it is written with."""
        return {field.alias or name: field.description or "" for name, field in cls.model_fields.items()}

    @classmethod
    def _explained(cls, error: ValidationError) -> str:
        """The first error in one line."""
        first = error.errors(include_url=False)[0]
        field, kind = ".".join(map(str, first["loc"])), first["type"]
        if kind == "model_type":
            return f"must be an object with some of: {', '.join(cls.descriptions())}"
        if kind == "extra_forbidden":
            return f"{field}: there is no such field; the fields are {', '.join(cls.descriptions())}"
        if kind == "missing":
            return f"{field}: is required"
        message = str(first["ctx"]["error"]) if kind == "value_error" else first["msg"]
        return f"{field}: {message} (got {first['input']!r})" if field else message


def one_of(words: Iterable[str]) -> AfterValidator:
    """A validator for a text that has to be one of these words."""
    allowed = tuple(words)

    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return AfterValidator(check)
