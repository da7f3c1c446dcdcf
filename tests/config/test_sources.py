"""What of a component's source enters a key: the modules that decide its numbers, and no others."""

from __future__ import annotations

import functools
import importlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from xbench import algorithms
from xbench.config import sources
from xbench.config.nodes import ConfigError, canonical, source

Write = Callable[[Mapping[str, str]], None]
TOP = "mine_for_a_test"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files below a folder that Python imports from; what is known of it is forgotten, as in a new process."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def forget() -> None:
        for name in [name for name in sys.modules if name.startswith(TOP)]:
            del sys.modules[name]
        monkeypatch.setattr(sources, "_taken", {})
        importlib.invalidate_caches()

    def written(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()

    yield written
    forget()


def node(module: str, name: str = "Thing", **settings: object) -> dict[str, Any]:
    return {"_target_": f"{module}.{name}", **settings}


THING = "class Thing: pass\n"

# How a component's module may import `helper`, and where the two lie.
IMPORTS = {
    "a module of the package": ("from {top}.helper import x", "{top}/thing.py", "{top}/helper.py"),
    "relative": ("from .helper import x", "{top}/thing.py", "{top}/helper.py"),
    "relative, the module": ("from . import helper", "{top}/thing.py", "{top}/helper.py"),
    "relative, from above": ("from ..helper import x", "{top}/deeper/thing.py", "{top}/helper.py"),
    "dotted": ("import {top}.helper", "{top}/thing.py", "{top}/helper.py"),
    "dotted, renamed": ("import {top}.helper as h", "{top}/thing.py", "{top}/helper.py"),
    "of another package": ("import {top}_b.helper", "{top}/thing.py", "{top}_b/helper.py"),
    "beside it": ("from {top}_helper import x", "{top}.py", "{top}_helper.py"),
    "in a function": ("def f():\n    from {top}.helper import x", "{top}/thing.py", "{top}/helper.py"),
    "under a condition": ("if 0 > 1:\n    import {top}.helper", "{top}/thing.py", "{top}/helper.py"),
    "where something fails": (
        "try:\n    pass\nexcept OSError:\n    import {top}.helper", "{top}/thing.py", "{top}/helper.py",
    ),
    "in a case of a match in a class": (
        "class A:\n    match 1:\n        case 2:\n            import {top}.helper", "{top}/thing.py", "{top}/helper.py",
    ),
    "through another": ("from .between import x", "{top}/thing.py", "{top}/helper.py"),
    "in a circle": ("from . import between", "{top}/thing.py", "{top}/helper.py"),
    "of the package": ("from {top} import x", "{top}/thing.py", "{top}/__init__.py"),
    "through the package": ("from {top} import helped", "{top}/thing.py", "{top}/helper.py"),
}  # fmt: skip
PACKAGE = {
    "in a circle": {"between.py": "import {top}.helper\nfrom {top} import thing\nx = 1\n"},
    "through another": {"between.py": "from .helper import x\n"},
    "through the package": {"__init__.py": "from .helper import x as helped\n"},
}


@pytest.mark.parametrize("case", IMPORTS)
def test_what_a_component_imports_is_part_of_it(write: Write, case: str) -> None:
    statement, thing, helper = (text.format(top=TOP) for text in IMPORTS[case])
    files = {helper: "x = 1\n", thing: f"{statement}\n{THING}"}
    files |= {f"{TOP}/{name}": text.format(top=TOP) for name, text in PACKAGE.get(case, {}).items()}
    component = node(thing.removesuffix(".py").replace("/", "."))
    write(files)
    first = source(component)
    write(files)
    assert source(component) == first
    write({helper: "x = 2\n"})
    assert source(component) != first
    write({helper: "x = 1\n", f"{TOP}/unrelated.py": "x = 3\n"})
    assert source(component) == first


def test_a_package_that_gathers_its_modules_does_not_tie_them_to_each_other(write: Write) -> None:
    gathered = {
        f"{TOP}/__init__.py": "from .one import Thing\nfrom . import two\n",
        f"{TOP}/one.py": THING,
        f"{TOP}/two.py": "x = 1\n",
    }
    write(gathered)
    first, named_by_the_package = source(node(f"{TOP}.one")), source(node(TOP))
    assert first == named_by_the_package
    write({f"{TOP}/two.py": "x = 2\n"})
    assert source(node(f"{TOP}.one")) == source(node(TOP)) == first
    write({f"{TOP}/__init__.py": "from .one import Thing\nfrom . import two\nSCALE = 2\n"})  # Python runs it, too
    assert source(node(f"{TOP}.one")) != first


def test_bases_arguments_and_makers_count(write: Write) -> None:
    """A base of another package, a class in an argument, and the module that binds what another defines."""
    files = {
        f"{TOP}_base.py": "class Base: pass\ndef make(width): return lambda: width\n",
        f"{TOP}.py": f"from {TOP}_base import Base, make\nclass Thing(Base): pass\nmade = make(3)\n",
    }
    write(files)
    sound = {"_target_": "builtins.dict", "_partial_": True, "of": [node(TOP)]}
    before = [source(node(TOP)), source(node(TOP, "made")), source(sound)]
    write({f"{TOP}.py": files[f"{TOP}.py"].replace("3", "4")})
    after = [source(node(TOP)), source(node(TOP, "made")), source(sound)]
    assert all(new != old for new, old in zip(after, before, strict=True))
    write({f"{TOP}_base.py": files[f"{TOP}_base.py"] + "# more\n"})
    assert all(new != old for new, old in zip([source(node(TOP)), source(sound)], [after[0], after[2]], strict=True))
    assert sources.fingerprint(functools.partial(dict, of=importlib.import_module(TOP).Thing)) == source(node(TOP))


def test_xbench_torch_and_python_are_known_by_other_means() -> None:
    ig = {"_target_": "xbench.algorithms.IntegratedGradients", "n_steps": 3}
    assert source({"_target_": "xbench.algorithms.NoiseTunnel", "algorithm": ig}) is None
    assert sources.fingerprint(torch.nn.Linear, torch.relu, dict, len, functools.partial(sorted), None) is None


def test_a_function_that_is_named_in_text_counts_wherever_it_is_nested(write: Write) -> None:
    write({f"{TOP}.py": "def explain(model, inputs, target): return inputs\n"})
    own = {"_target_": "xbench.algorithms.external.external.External", "function": f"{TOP}:explain"}
    nested = {"_target_": "xbench.algorithms.NoiseTunnel", "algorithm": own}
    first = source(own)
    assert first is not None
    assert source(nested) == first
    write({f"{TOP}.py": "def explain(model, inputs, target): return 2 * inputs\n"})
    assert source(own) == source(nested) != first


@pytest.fixture
def install(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))

    def installed(version: str, text: str) -> None:
        name = f"{TOP}_dist"
        record = f"{name}/__init__.py,sha256={hash(text)},1\n{name}/x.pyc,sha256={id(text)},1\n"
        folder = f"site-packages/{name}-{version}.dist-info"
        write({
            f"site-packages/{name}/__init__.py": text, f"{folder}/RECORD": record,
            f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        })  # fmt: skip
        sources._release.cache_clear()

    return installed


def test_what_is_installed_is_known_by_its_version_and_its_files(
    install: Callable[[str, str], None], write: Write, tmp_path: Path
) -> None:
    install("1.0", THING)
    component = node(f"{TOP}_dist")
    first = source(component)
    assert first is not None
    write({f"site-packages/{TOP}_dist/x.py": "", f"{TOP}.py": f"import {TOP}_dist\n{THING}"})
    assert source(component) == first
    imports_it = source(node(TOP))
    install("1.0", THING + "# installed again\n")
    assert source(component) != first
    assert source(node(TOP)) == imports_it  # libraries that your code uses are in the environment of a cell
    for folder in (tmp_path / "site-packages").glob("*.dist-info"):
        shutil.rmtree(folder)
    install("2.0", THING)
    assert source(component) != first


def test_captum_is_known_by_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    captum = {"_target_": "xbench.algorithms.external.captum.Captum", "method": "Saliency"}
    assert source(captum) is not None
    assert source(captum) == sources.fingerprint("captum")
    assert algorithms.Captum("Saliency").facts.version == 1


@pytest.mark.parametrize("dotted", ["", ".", "..", "a..b", "*", "no_such_module.Thing", "os.path.join", "\0.x"])
def test_a_name_that_is_none_is_left_to_the_import(dotted: str) -> None:
    sources.note(dotted)


def test_what_has_no_file_is_refused() -> None:
    scope: dict[str, Any] = {"__name__": "console_for_a_test"}
    exec("class Typed: pass\ndef typed(): pass\n", scope)  # as in a notebook
    for component in (scope["Typed"], scope["typed"], functools.partial(scope["typed"])):
        with pytest.raises(ConfigError, match="module 'console_for_a_test' cannot be read .* module with a file"):
            sources.fingerprint(component)


def test_a_process_keeps_the_source_that_it_imported(write: Write, tmp_path: Path) -> None:
    write({f"{TOP}.py": THING})
    first = source(node(TOP))
    (tmp_path / f"{TOP}.py").write_text(THING + "# edited\n")
    assert source(node(TOP)) == first  # its numbers still come from that source
    importlib.reload(sys.modules[TOP])
    assert source(node(TOP)) != first


def test_a_file_that_changes_while_it_is_imported_is_refused(write: Write, tmp_path: Path) -> None:
    write(
        {f"{TOP}.py": f"from pathlib import Path\nPath({str(tmp_path / TOP)!r} + '.py').write_text('x = 1')\n{THING}"}
    )
    with pytest.raises(ConfigError, match=f"{TOP}.py changed while the command ran; run it again"):
        source(node(TOP))


def test_a_module_that_is_imported_late_is_watched_until_it_is(write: Write, tmp_path: Path) -> None:
    write({f"{TOP}/thing.py": f"def f():\n    from . import late\n{THING}", f"{TOP}/late.py": "x = 1\n"})
    first = source(node(f"{TOP}.thing"))
    assert f"{TOP}.late" not in sys.modules
    (tmp_path / TOP / "late.py").write_text("x = 2\n")
    sources.check()  # it computes nothing yet
    sys.modules[f"{TOP}.thing"].f()
    with pytest.raises(ConfigError, match="late.py changed while the command ran"):
        sources.check()
    (tmp_path / TOP / "late.py").write_text("x = 1\n")
    assert source(node(f"{TOP}.thing")) == first


@pytest.mark.parametrize("name", ["captum.Captum", "external.External"])
def test_an_identity_does_not_name_the_folder_of_external_algorithms(name: str) -> None:
    """Results of before they had one are still theirs."""
    node = {"_target_": f"xbench.algorithms.external.{name}"} | ({"function": "math:cos"} if "External" in name else {})
    assert canonical(node)["_target_"] == f"xbench.algorithms.{name}"
