"""Validation of parsed JSON into frozen dataclasses.

Unknown keys are ignored, so a newer server does not break an older client.
"""

import dataclasses
import functools
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Self, dataclass_transform, get_args, get_origin

from clients.errors import ServerFault


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Parsed:
    """Base class of frozen dataclasses that are built from JSON; subclasses need no decorator."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the value; raises ServerFault for a missing key or a wrong type."""
        try:
            return typing.cast(Self, _build(cls, values))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServerFault(f"the answer is not a {cls.__name__}: {error!r}") from error


def _build(kind: Any, value: Any) -> Any:
    """Returns `value` as a `kind`: a plain type, a dataclass, or a list, dict or option of them."""
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _build(next(arm for arm in get_args(kind) if arm is not type(None)), value)
    if origin is list:
        return [_build(get_args(kind)[0], item) for item in _checked(value, list)]
    if origin is dict:
        inner = get_args(kind)[1]
        return {key: _build(inner, item) for key, item in _checked(value, dict).items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints, given = _hints(kind), _checked(value, dict)
        built = {name: _build(hint, given[name]) for name, hint in hints.items() if name in given}
        return kind(**built)
    if kind is float:
        return float(_checked(value, int, float))
    return _checked(value, kind)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Types by field, cached: resolving them for each label would dominate a call."""
    return typing.get_type_hints(kind)


def _checked(value: Any, *kinds: type) -> Any:
    is_number_for_bool = isinstance(value, bool) and bool not in kinds
    if not isinstance(value, kinds) or is_number_for_bool:
        raise TypeError(f"expected {' or '.join(k.__name__ for k in kinds)}, got {value!r:.60}")
    return value
