"""Checks arguments from a config against the signature and the annotations of their target."""

import inspect
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from xbench.config.synonyms import synonym


class ConfigError(ValueError):
    """The configuration is wrong; the message names the place, the value, and what is allowed."""


def nearest(name: str, options: Sequence[str]) -> str:
    """The end of an error about an unknown name: "did you mean fast? All: all, fast, ig"."""
    meant = synonym(name, options)
    close = [meant] if meant else get_close_matches(name, options, n=3, cutoff=0.6)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{guess}All: {', '.join(options) or 'there are none'}"


def join(path: str, name: str) -> str:
    """The key of `name` below `path`; an empty path is the top of the config."""
    return f"{path}.{name}" if path else name


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The parameters of a class or function; None for builtins without a signature."""
    try:
        return dict(inspect.signature(target).parameters)
    except ValueError:
        return None


def hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters; empty if one cannot be resolved at run time."""
    described = target.__init__ if inspect.isclass(target) and not is_dataclass(target) else target
    try:
        return get_type_hints(described)
    except (NameError, TypeError):  # a name imported for type checkers only, or no annotations
        return {}


def check(
    target: Callable[..., Any],
    given: Mapping[str, Any],
    path: str,
    *,
    positional: int = 0,
    partial: bool = False,
) -> dict[str, Any]:
    """Check `given` for `target` and convert lists to tuples and whole numbers to floats where annotated so.

    The first `positional` parameters are given elsewhere; with `partial` others may be given later.

    Raises:
        ConfigError: an unknown or missing parameter, or a value of the wrong type.
    """
    known = parameters(target)
    if known is None:
        return dict(given)
    named = [p for p in known.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    name_of_target = getattr(target, "__name__", str(target))
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        _check_names(name_of_target, [p.name for p in named], given, path)
    if not partial:
        required = [p.name for p in named[positional:] if p.default is p.empty]
        _check_complete(name_of_target, required, given, path)
    annotated = hints(target)
    fitted = {name: fit(value, annotated.get(name, Any)) for name, value in given.items()}
    for name, value in fitted.items():
        hint = annotated.get(name, Any)
        if not _has_node(value) and not accepts(value, hint):
            got = f"{given[name]!r} ({type(given[name]).__name__})"
            listed = accepts(fit([given[name]], hint), hint) and not isinstance(given[name], list | tuple | dict)
            advice = f"; write {join(path, name)}=[{given[name]}]" if listed else ""
            raise ConfigError(f"{join(path, name)} must be {words(hint)}, got {got}{advice}")
    return fitted


def _check_names(target: str, names: Sequence[str], given: Iterable[str], path: str) -> None:
    for name in given:
        if name not in names:
            raise ConfigError(f"{join(path, name)}: {target} has no parameter '{name}'; {nearest(name, names)}")


def _check_complete(target: str, required: Iterable[str], given: Container[str], path: str) -> None:
    for name in required:
        if name not in given:
            place = join(path, name)
            raise ConfigError(f"{place} must be given: {target} has no default for it; add {place}=VALUE")


def _has_node(value: Any) -> bool:  # noqa: ANN401  (any YAML value)
    """Whether `value` contains a component that is not built yet; it is checked when it is built."""
    if isinstance(value, dict):
        return "_target_" in value or any(_has_node(inner) for inner in value.values())
    return isinstance(value, (list, tuple)) and any(_has_node(inner) for inner in value)


def _alternatives(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401  (annotations are of any type)
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def fit(value: Any, hint: Any) -> Any:  # noqa: ANN401
    """Convert a YAML value to the annotated type; it is unchanged if nothing fits.

    A list becomes a tuple for a tuple or a Sequence (components are frozen); 1 becomes 1.0 for a float, so that both
    spellings have one identity.
    """
    alternatives = _alternatives(hint)
    if isinstance(value, list):
        for alternative in alternatives:
            candidate = _as_tuple(value, alternative)
            if candidate is not None and (_has_node(candidate) or accepts(candidate, alternative)):
                return candidate
    if type(value) is int and float in alternatives and int not in alternatives:
        return float(value)
    return value


def _as_tuple(value: list[Any], hint: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin not in (tuple, Sequence):
        return None
    if len(inner) == len(value) and inner[-1:] != (Ellipsis,) and origin is tuple:
        return tuple(fit(item, one) for item, one in zip(value, inner, strict=True))
    return tuple(fit(item, inner[0] if inner else Any) for item in value)


def accepts(value: Any, hint: Any) -> bool:  # noqa: ANN401
    """Whether `value` is of the annotated type; unlike in Python, true and false are not numbers."""
    # Imported late: slow, and not needed for --help and misspelt names.
    from typeguard import CollectionCheckStrategy, ForwardRefPolicy, TypeCheckError, check_type

    alternatives = _alternatives(hint)
    takes_bool = any(a in (bool, Any, object) or get_origin(a) is Literal for a in alternatives)
    if isinstance(value, bool) and not takes_bool:
        return False
    try:
        check_type(
            value,
            hint,
            forward_ref_policy=ForwardRefPolicy.IGNORE,
            collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS,
        )
    except TypeCheckError:
        return False
    return True


def words(hint: Any) -> str:  # noqa: ANN401
    """The annotation in words: "a whole number or null", "one of 'l1', 'l2'"."""
    known = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
    said = []
    for alternative in _alternatives(hint):
        if get_origin(alternative) is Literal:
            said.append(f"one of {', '.join(repr(option) for option in get_args(alternative))}")
        elif alternative in known:
            said.append(known[alternative])
        else:
            said.append(str(alternative) if get_args(alternative) else getattr(alternative, "__name__", "?"))
    return " or ".join(said)
