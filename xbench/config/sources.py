"""Fingerprints the source of components that are not xbench's own, read before Python imports it.

docs/keys.md defines which files enter a key. Imports no torch.
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

# The platform, not components: their versions are in a cell's environment.
_PLATFORM = {"xbench", "torch", *sys.stdlib_module_names}
_INSTALLED = {"site-packages", "dist-packages"}
_STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")  # fields of a statement that contain statements


@dataclass(frozen=True)
class _Taken:
    """The source of a module: its hash, and the modules it imports.

    imported: the imported module object; another object after a reload, None before the import.
    """

    digest: str
    imports: tuple[str, ...]
    imported: object


_taken: dict[str, _Taken] = {}  # by module name; kept as long as the imported modules


def note(dotted: str) -> None:
    """Read the source of the module in "module.Class", and of its imports, unless it is imported already.

    `check` after the import detects a file that changed between this reading and Python's.
    """
    name = dotted
    while name and _find(name) is None:
        name = name.rpartition(".")[0]
    if name and name not in sys.modules and not _platform(name) and not _installed(name):
        _closure([name])


def check() -> None:
    """Raise ConfigError if a module was imported from another source than the one read before."""
    for name, taken in list(_taken.items()):
        if taken.imported is None and name in sys.modules:
            _take(name)


def fingerprint(*components: object) -> str | None:
    """sha256 of the source of those components that are not xbench's own, and of the user's modules they import.

    components: classes, functions, partials, instances, or names of modules. Code of an installed distribution is
    represented by its version and the hashes of its files. None: all of it is xbench's, torch's or Python's.

    Raises:
        ConfigError: there is no source, as for a class typed into an interpreter, or it has changed since its import.
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
    """The modules whose files count: the roots, their direct and indirect imports, and parent packages.

    Python also runs a module's parent package, so its file counts; its imports count only if they are used.
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
    """The source of a module before its import, or, if it is already imported, its current source."""
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
    """The content of a module's file, and whether the module is a package."""
    spec, origin = _find(name), _origin(name)
    package = spec is not None and spec.submodule_search_locations is not None
    if package and origin is None:
        return b"", True  # a folder without __init__.py
    try:
        if origin is None:
            raise OSError("it has none")
        get_data = getattr(spec and spec.loader, "get_data", None)  # can also read from a zip
        return get_data(origin) if get_data else Path(origin).read_bytes(), package
    except OSError as error:
        raise ConfigError(
            f"the file of module {name!r} cannot be read ({error}): results are known by the source of what computes "
            "them, so put your code into a module with a file"
        ) from error


def _imports(source: bytes, name: str, package: bool) -> tuple[str, ...]:
    """The modules that the source imports anywhere, except those of the platform and installed ones."""
    try:
        todo: list[ast.AST] = [*ast.parse(source).body]
    except (SyntaxError, ValueError):  # compiled, or not Python, which the import will report
        return ()
    found: list[str] = []
    while todo:
        node = todo.pop()
        for inside in _STATEMENTS:  # `ast.walk` would spend most of its time on expressions
            todo += getattr(node, inside, ())
        if isinstance(node, ast.Import):
            for alias in node.names:  # `import a.b` also imports a
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
    """Whether a module lies in a folder of installed distributions."""
    spec = _find(name)
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    return any(_INSTALLED & set(Path(place).parts) for place in places)


def _find(name: str) -> ModuleSpec | None:
    """The spec of a module, without importing it or its parent packages."""
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
    folder = ModuleSpec(name, None, is_package=True)  # otherwise a package without __init__.py
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
    """The distributions that provide a package, with versions and file hashes; None: it was installed by hand."""
    try:
        found = [importlib.metadata.distribution(top)]
    except importlib.metadata.PackageNotFoundError:  # sklearn belongs to scikit-learn; this look-up takes much longer
        names = importlib.metadata.packages_distributions().get(top, [])
        found = [importlib.metadata.distribution(name) for name in sorted(set(names))]
    return json.dumps([[one.name, one.version, _files(one)] for one in found]) if found else None


def _files(distribution: importlib.metadata.Distribution) -> str:
    """One hash over the recorded hashes of a distribution's Python files, which may change without its version."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    return hashlib.sha256("\n".join(sorted(line for line in lines if ".py," in line)).encode()).hexdigest()
