"""Any command line and any option file ends with an exit code and, where it is wrong, one line; never a traceback."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import xbench.report
import xbench.tables.tables
from tests.cli.test_command import Runner
from xbench.__main__ import main
from xbench.cli import session
from xbench.config.keys import RUN, SETTINGS
from xbench.config.nodes import CONF

pytestmark = pytest.mark.slow

GROUPS = ("algorithm", "dataset", "metric", "model")
TARGETS = [
    "fractions.Fraction", "builtins.int", "builtins.list", "builtins.object", "collections.OrderedDict", "sys.exit",
    "math.sqrt", "math.pi", "xbench.config.nodes",
    "xbench.config.nodes.CONF", "xbench.algorithms.Saliency", "no_such.thing",
    "xbench.metrics.Infidelity", "xbench.datasets.digits.Digits", "xbench.algorithms.NoSuch", "..", "a..b", "x",
]  # fmt: skip
VALUES = [
    "${seed}", "${nothing}", "${algorithm.ig}", "${oc.env:NO_SUCH_VARIABLE}", "${", "${}", "${${seed}}", "${.n_steps}",
    "${..n_steps}", "${resolver:}", "${oc.decode:'{'}", "${oc.create:[1]}", "${algorithm}", "${hydra:job.name}", "",
    "???", "[", "{a:1}", "cpu*2", "cpu*0", "1e400", "0x10", "é", "\ud800", "\x00", "\n", "'", '"', "a,b", "~",
    "a=b", "choice(1,2)", "interval(0,1)", "sort(1,2)", "int(x)", "$\\frac{$", "x" * 300, "ig", "digits", "cnn",
]  # fmt: skip
KEYS = [
    *SETTINGS, *(f"run.{name}" for name in RUN), *GROUPS, "run", "hydra", "hydra.run.dir", "hydra/launcher", "control",
    "experiment", "defaults", "algorithm.ig", "algorithm.ig.n_steps", "algorithm.ig._target_", "algorithm.ig._args_",
    "algorithm.ig._partial_", "algorithm.ig._recursive_", "algorithm.ig.1", "algorithm.ig.n_steps.x", "dataset.path",
    "dataset._target_", "dataset._args_", "model.seed", "model._target_", "model._partial_",
    "metric.infidelity._target_", "metric.infidelity.perturbation", "algorithm@algorithm.x", "algorithm@x", "@",
]  # fmt: skip
PARAMETERS = [
    "_target_",
    "_partial_",
    "_args_",
    "_recursive_",
    "_convert_",
    "defaults",
    "n_steps",
    "samples",
    "seed",
    "n",
]
FLAGS = ["-m", "--cfg=job", "list", "status", "help", "report", "--help", "--resolve", "-x", "n=1", "algorithm=ig"]
FILES = sorted(path for group in GROUPS for path in (CONF / group).glob("*.yaml") if "_target_" in path.read_text())

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(VALUES + TARGETS),
)
names = st.sampled_from(PARAMETERS) | st.text(max_size=3)


def nested(keys: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )


def spelt(value: object) -> str:
    """A value as the grammar of overrides has it, or nearly."""
    if isinstance(value, list):
        return f"[{','.join(map(spelt, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{spelt(inner)}" for key, inner in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


overrides = st.builds(
    lambda prefix, key, value: f"{prefix}{key}={spelt(value)}",
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS) | st.text(max_size=4),
    nested(st.text("ab1_", max_size=2)),
)
commands = st.lists(overrides | st.sampled_from(FLAGS) | st.text(max_size=4), max_size=4)
values = nested(names | st.integers(-1, 2) | st.booleans() | st.floats() | st.none())
contents = values | st.builds(
    lambda target, node: {"_target_": target, **node},
    st.sampled_from(TARGETS),
    st.dictionaries(names, values, max_size=4),
)
changes = st.dictionaries(names | st.sampled_from(["target", "path", "width", "weights", "name"]), values, max_size=2)


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


@pytest.fixture(autouse=True, scope="module")
def _stand_ins() -> Iterator[None]:
    """A runner that computes nothing, in a folder of its own."""
    runner = Runner()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)
        patch.setenv("HOME", folder)
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "argv", [])
        patch.setattr(session, "load_runner", lambda: runner)
        patch.setattr(xbench.tables.tables, "build", lambda _store, manifest: manifest)
        patch.setattr(xbench.tables.tables, "terminal", lambda manifest: "a table")
        patch.setattr(xbench.report, "write", lambda *_, **__: Path("index.html"))
        yield


def command(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["xbench", *words]
        try:
            code = main()
        except SystemExit as exit:  # of argparse
            code = exit.code if isinstance(exit.code, int) else 1
    return code, out.getvalue(), err.getvalue()


def check(*words: str) -> str:
    code, out, err = command(*words)
    assert code in (0, 1, 2), (code, err)
    assert "Traceback" not in out + err
    if code == 2 and "usage: " not in err:
        assert err.startswith("xbench: ")
        assert err.count("\n") == 1, err
    return err


def check_file(group: str, text: str) -> str:
    path = Path("conf") / group / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, errors="surrogateescape")
    few = ("n=1", "controls=false", *(f"{other}=[]" for other in ("algorithm", "metric") if other != group))
    try:
        return check("--config-dir", "conf", f"{group}=mine", *few)
    finally:
        path.unlink()


@bounded(20)
@given(commands)
@example(["algorithm.ig.n_steps=${algorithm.ig.n_steps}"])
@example(["algorithm.ig._args_=5", "algorithm=ig"])
@example(["algorithm.ig.n_steps=" + 400 * "[" + 400 * "]", "algorithm=ig"])
@example(["--help", "("])
@example(["--cfg=job", "algorithm=null"])
@example(["--resolve"])
def test_any_command_ends_in_words(words: list[str]) -> None:
    check(*words)


@bounded(12)
@given(st.sampled_from(GROUPS), contents, st.booleans())
@example("dataset", {"_target_": "sys.exit"}, False)
@example("model", "text", True)
@example("dataset", ["${..n_steps}"], True)
def test_any_option_file_ends_in_words(group: str, content: object, packaged: bool) -> None:
    header = f"# @package {group}.mine\n" if packaged else ""
    check_file(group, header + yaml.safe_dump(content, allow_unicode=True))


@bounded(10)
@given(st.sampled_from(FILES), changes)
def test_a_changed_option_file_ends_in_words(path: Path, change: dict[str, object]) -> None:
    group = path.parent.name
    header = f"# @package {group}.mine\n" if group in ("algorithm", "metric") else ""
    check_file(group, header + yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}, allow_unicode=True))


def _bomb(line: Callable[[int], str]) -> str:
    return "".join(f"a{n}: {line(n)}\n" for n in range(12))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_bomb(lambda n: f"&a{n} [{9 * (f'*a{n - 1}, ' if n else 'x, ')}]"), "aliases stand for more than"),
        ("a: &a [*a]\n", "stands inside itself"),
        (_bomb(lambda n: "[" + 9 * (f"'${{model.a{n - 1}}}', " if n else "x, ") + "]"), "multiply"),
        ("_target_: builtins.dict\na: ${model.b}\nb: {c: '${model.a}'}\n", "Interpolation to parent node detected"),
        ("_target_: builtins.dict\n1: x\n", "model: keys are text, got 1 (int)"),
        ("_target_: builtins.dict\na: {true: x}\n", "model.a: keys are text, got True (bool)"),
        ("_target_: builtins.dict\n_args_: 5\n", "model._args_ must be a list, got 5"),
        ("_target_: builtins.dict\n_partial_: 5\n", "model._partial_ must be true or false, got 5"),
        ("_target_: builtins.dict\n", "builtins.dict makes no model: dict has no method 'load'"),
        (500 * "[" + 500 * "]", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_has_no_end_or_no_sense_is_named(text: str, said: str) -> None:
    assert said in check_file("model", text)
