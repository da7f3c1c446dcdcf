"""What a component that is not xbench's own is to the store: its source, taken before Python imports it.

docs/keys.md says what of it enters a key. Imports no torch.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from xbench.config.arguments import ConfigError

# Where components run, not components: their versions are in the environment that a cell names.
_PLATFORM = {"xbench", "torch", *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}
_STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")  # where a statement holds further ones


@dataclass(frozen=True)
class _Taken:
    """The source of a module: its hash, and which modules it imports.

    imported: what Python made of it; another object after the module is imported again, None before it is imported.
    """

    digest: str
    imports: tuple[str, ...]
    imported: object


_taken: dict[str, _Taken] = {}  # by module; what is imported stays in the process, and so does this


def note(dotted: str) -> None:
    """Take the source of the module in "module.Class", and of what it imports, unless it is imported already.

    With `check` after the import, a file that changes between Python's reading it and ours is noticed.
    """
    name = dotted
    while name and _find(name) is None:
        name = name.rpartition(".")[0]
    if name and name not in sys.modules and not _platform(name) and not _installed(name):
        _closure([name])


def check() -> None:
    """Raises ConfigError when a module was imported from another source than was taken before."""
    for name, taken in list(_taken.items()):
        if taken.imported is None and name in sys.modules:
            _take(name)


def fingerprint(*components: object) -> str | None:
    """sha256 of the source of what is not xbench's own among these, and of the modules of yours that it imports.

    components: classes, functions, partials, instances, or names of modules. What an installed distribution brings is
    known by its version and the hashes of its files. None: all of it is xbench's, torch's or Python's.

    Raises:
        ConfigError: there is no source, as for a class that was typed into an interpreter; or it has changed since it
            was imported.
    """
    names = {name for component in components for name in _modules(component) if not _platform(name)}
    releases = {name: _release(name.partition(".")[0]) for name in names if _installed(name)}
    found = {name: release for name, release in releases.items() if release is not None}
    known = {f"distribution of {name.partition('.')[0]}": release for name, release in found.items()}
    known |= {name: _take(name).digest for name in _closure(names - found.keys())}
    return hashlib.sha256(json.dumps(sorted(known.items())).encode()).hexdigest() if known else None


def _modules(component: object) -> Iterator[str]:
    """The modules that define a component."""
    if isinstance(component, str):
        yield component
    elif isinstance(component, functools.partial):
        for part in (component.func, *component.args, *component.keywords.values()):
            if callable(part):
                yield from _modules(part)
    elif inspect.isclass(component):
        yield from (base.__module__ for base in component.__mro__)
    elif inspect.isroutine(component):
        yield getattr(component, "__module__", None) or "builtins"
        for inner in (getattr(component, "__wrapped__", None), getattr(component, "__self__", None)):
            if inner is not None and not inspect.ismodule(inner):
                yield from _modules(inner)
    else:
        yield from _modules(type(component))


def _closure(roots: Iterable[str]) -> set[str]:
    """The modules whose files decide: the roots, what they import, what that imports, and the packages above.

    Python runs a package above a module too, so its file counts; what it imports does not, unless it is asked for it.
    """
    todo, followed, above = list(roots), set[str](), set[str]()
    while todo:
        name = todo.pop()
        if name not in followed:
            followed.add(name)
            above |= set(_above(name))
            todo += _take(name).imports
    return followed | above


def _above(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _take(name: str) -> _Taken:
    """The source of a module as it was before its import, or, where that came first, as it is now."""
    module, known = sys.modules.get(name), _taken.get(name)
    imported = None if module is None else getattr(module, "__spec__", None) or module
    if known is None or known.imported is not imported:
        source, package = _read(name)
        digest = hashlib.sha256(source).hexdigest()
        if known is not None and known.imported is None and known.digest != digest:
            raise ConfigError(f"{_origin(name)} changed while the command ran; run it again")
        known = _taken[name] = _Taken(digest, _imports(source, name, package), imported)
    return known


def _read(name: str) -> tuple[bytes, bool]:
    """A module's file, and whether it is that of a package."""
    spec, origin = _find(name), _origin(name)
    package = spec is not None and spec.submodule_search_locations is not None
    if package and origin is None:
        return b"", True  # a folder without __init__.py
    try:
        if origin is None:
            raise OSError("it has none")
        get_data = getattr(spec and spec.loader, "get_data", None)  # knows how to look into a zip
        return get_data(origin) if get_data else Path(origin).read_bytes(), package
    except OSError as error:
        raise ConfigError(
            f"the file of module {name!r} cannot be read ({error}): results are known by the source of what computes "
            "them, so put your code into a module with a file"
        ) from error


def _imports(source: bytes, name: str, package: bool) -> tuple[str, ...]:
    """The modules that the source imports anywhere in it, but for those of the platform and installed ones."""
    try:
        todo: list[ast.AST] = [*ast.parse(source).body]
    except (SyntaxError, ValueError):  # compiled; or no Python, which importing it will say
        return ()
    found: list[str] = []
    while todo:
        node = todo.pop()
        for inside in _STATEMENTS:  # not `ast.walk`, most of whose time goes into expressions
            todo += getattr(node, inside, ())
        if isinstance(node, ast.Import):
            for alias in node.names:  # `import a.b` makes a known, and what it holds
                found += [alias.name] if alias.asname else [alias.name, *_above(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name, package)
            inner = [f"{base}.{alias.name}" for alias in node.names]
            modules = [one for one in inner if _followed(one)]
            found += modules if len(modules) == len(inner) else [base, *modules]
    return tuple(one for one in dict.fromkeys(found) if _followed(one))


def _base(node: ast.ImportFrom, name: str, package: bool) -> str:
    """The absolute name of the module from which a statement imports."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    above = parts[: len(parts) - node.level + package]
    return ".".join([*above, *([node.module] if node.module else [])])


def _followed(name: str) -> bool:
    return not _platform(name) and _find(name) is not None and not _installed(name)


def _platform(name: str) -> bool:
    return name.partition(".")[0] in _PLATFORM


def _installed(name: str) -> bool:
    """Whether a module lies where distributions are installed."""
    spec = _find(name)
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    return any(_INSTALLED & set(Path(place).parts) for place in places)


def _find(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it or what is above it."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    parent, _, last = name.rpartition(".")
    if not last.isidentifier():
        return None
    if not parent:
        specs = (finder.find_spec(name, None) for finder in sys.meta_path)
        return next((spec for spec in specs if spec is not None), None)
    above = _find(parent)
    places = [] if above is None else [*(above.submodule_search_locations or ())]
    folder = ModuleSpec(name, None, is_package=True)  # unless it is a file: one without __init__.py
    folder.submodule_search_locations = []
    for place in places:
        finder = pkgutil.get_importer(place)
        spec = None if finder is None else finder.find_spec(name, None)
        if spec is not None and spec.loader is not None:
            return spec
        folder.submodule_search_locations += [] if spec is None else spec.submodule_search_locations or []
    return folder if folder.submodule_search_locations else None


def _origin(name: str) -> str | None:
    """The file of a module."""
    spec = _find(name)
    if spec is not None:
        return spec.origin if spec.has_location else None
    return getattr(sys.modules.get(name), "__file__", None)


@functools.cache
def _release(top: str) -> str | None:
    """The distributions that bring a package, with versions and file hashes; None: it was put there by hand."""
    try:
        found = [importlib.metadata.distribution(top)]
    except importlib.metadata.PackageNotFoundError:  # sklearn is scikit-learn's; this way takes much longer
        names = importlib.metadata.packages_distributions().get(top, [])
        found = [importlib.metadata.distribution(name) for name in sorted(set(names))]
    return json.dumps([[one.name, one.version, _files(one)] for one in found]) if found else None


def _files(distribution: importlib.metadata.Distribution) -> str:
    """One hash of those that it records of its Python files: not everybody raises a version with every change."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    return hashlib.sha256("\n".join(sorted(line for line in lines if ".py," in line)).encode()).hexdigest()
