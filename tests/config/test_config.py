"""Nodes, their checks and identities, and every option file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from omegaconf import OmegaConf

from xbench.cli.preflight import preflight, relax
from xbench.config.arguments import accepts, fit
from xbench.config.compose import Composer, component
from xbench.config.nodes import CONF, ConfigError, canonical, instantiate

HERE = __name__


@dataclass(frozen=True)
class Inner:
    version: ClassVar[int] = 3
    scale: float = 1.0


@dataclass(frozen=True)
class Thing:
    steps: int
    method: Literal["left", "right"] = "left"
    window: int | tuple[int, ...] = 1
    inner: Inner = field(default_factory=Inner)
    note: str | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")


def explain(model: object, inputs: object, target: object) -> object:
    """What a user's function looks like."""
    return inputs


def node(**parameters: object) -> dict[str, object]:
    return {"_target_": f"{HERE}.Thing", "steps": 5, **parameters}


def test_instantiate_builds_nested_nodes_and_tuples() -> None:
    inner = {"_target_": f"{HERE}.Inner", "scale": 2}
    made = instantiate(OmegaConf.create(node(window=[1, 2], inner=inner)), "algorithm.x")
    assert made == Thing(5, window=(1, 2), inner=Inner(2.0))
    assert isinstance(made.inner.scale, float)


def test_partial_nodes_may_leave_parameters_open() -> None:
    partial = instantiate({"_target_": f"{HERE}.Thing", "_partial_": True, "method": "right"}, "x")
    assert partial(steps=2) == Thing(2, "right")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"stepz": 1}, ["algorithm.x.stepz", "no parameter 'stepz'", "did you mean steps?", "window"]),
        ({"steps": "abc"}, ["algorithm.x.steps must be a whole number", "'abc'"]),
        ({"steps": True}, ["algorithm.x.steps must be a whole number", "True"]),
        ({"steps": 0}, ["algorithm.x: ", "steps must be >= 1, got 0"]),
        ({"method": "lft"}, ["algorithm.x.method must be one of 'left', 'right'", "'lft'"]),
        ({"window": [1, "a"]}, ["algorithm.x.window must be a whole number or tuple[int, ...]"]),
        ({"note": 3}, ["algorithm.x.note must be text or null"]),
        (
            {"inner": {"_target_": f"{HERE}.Inner", "scal": 1}},
            ["algorithm.x.inner.scal", "did you mean scale?"],
        ),
        ({"_target_": f"{HERE}.Thign"}, ["algorithm.x._target_", "did you mean Thing"]),
        ({"_target_": "no_such_package.Thing"}, ["there is no module 'no_such_package'"]),
        ({"_target_": f"{HERE}.HERE"}, ["is not a class or function"]),
    ],
)
def test_a_wrong_node_names_the_place_and_what_is_allowed(parameters: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        instantiate(node(**parameters), "algorithm.x")
    for word in words:
        assert word in str(error.value)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.x\.steps must be given"):
        instantiate({"_target_": f"{HERE}.Thing"}, "algorithm.x")
    with pytest.raises(ConfigError, match=r"algorithm\.x\.steps must be given"):
        instantiate(OmegaConf.create(node(steps="???")), "algorithm.x")


def test_canonical_does_not_depend_on_spelling() -> None:
    explicit = node(window=1, inner={"_target_": f"{HERE}.Inner", "scale": 1}, method="left", note=None)
    assert canonical(node()) == canonical(explicit)
    assert canonical(node()) == {
        "_target_": f"{HERE}.Thing",
        "steps": 5,
        "method": "left",
        "window": 1,
        "inner": {"_target_": f"{HERE}.Inner", "_version_": 3, "scale": 1.0},
        "note": None,
    }
    assert canonical(node(steps=6)) != canonical(node())


def test_lists_become_tuples_only_where_wanted() -> None:
    assert fit([1, 2], int | tuple[int, ...]) == (1, 2)
    assert fit([[1, 2], [3, 4]], tuple[tuple[int, int], ...]) == ((1, 2), (3, 4))
    assert fit([1, 2], list[int]) == [1, 2]
    assert fit(1, float) == 1.0
    assert isinstance(fit(1, float), float)
    assert isinstance(fit(1, int | float), int)
    assert accepts(True, bool)
    assert not accepts(True, int | float)


FILES = sorted(path.relative_to(CONF) for path in CONF.glob("*/*.yaml"))


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_option_file_composes_and_builds(composer: Composer, path: Path) -> None:
    given = {  # what the user must name
        "function": ["dataset.samples._target_=builtins.dict"],
        "black_box": ["model.function._target_=builtins.dict"],
        "custom": ["model.module._target_=torch.nn.Identity"],
        "table": ["dataset.path=no.csv", "dataset.target=y"],
        "series_table": ["dataset.path=no.csv", "dataset.target=y"],
        "wav_folder": ["dataset.path=no"],
        "image_folder": ["dataset.path=no"],
        "clip_folder": ["dataset.path=no"],
        "text_table": ["dataset.path=no.csv"],
        "callable": [f"algorithm.callable.function={HERE}:explain"],
    }.get(path.stem, [])
    jobs = preflight(composer, relax(composer, [f"{path.parent}={path.stem}", *given]), multirun=False)
    assert len(jobs) == 1 or path.parent.name == "experiment"  # which may be a sweep
    text = (CONF / path).read_text()
    assert len(text.splitlines()) < 20
    if path.parent.name in ("algorithm", "metric") and "_target_" in text:
        assert f"# @package {path.parent}.{path.stem}" in text
        assert path.stem in jobs[0].cfg[path.parent.name]


def test_component_builds_one_option(composer: Composer) -> None:
    assert component("algorithm", "ig", ["n_steps=7"]).n_steps == 7
    with pytest.raises(ConfigError, match="did you mean ig"):
        component("algorithm", "igg")
    with pytest.raises(ConfigError, match="is a list of options"):
        component("algorithm", "fast")


def algorithms(composer: Composer, *overrides: str, multirun: bool = False) -> list[list[str]]:
    jobs = preflight(composer, relax(composer, overrides), multirun)
    return [list(job.cfg.algorithm) for job in jobs]


def test_presets_and_controls(composer: Composer) -> None:
    controls = ["random", "constant"]
    fast = ["saliency", "input_x_gradient", "ig", "deeplift", "gradient_shap"]
    assert algorithms(composer) == [[*fast, *controls]]
    ((*gradient, _, _),) = algorithms(composer, "algorithm=gradient")
    assert gradient[:5] == fast
    assert gradient[-3:] == ["smoothgrad", "smoothgrad_sq", "vargrad"]
    assert algorithms(composer, "algorithm=[ig]", "controls=false") == [["ig"]]
    assert algorithms(composer, "algorithm=[random,ig]") == [["ig", *controls]]
    assert algorithms(composer, "algorithm=[]") == [controls]
    assert algorithms(composer, "~algorithm@control.random", "algorithm=ig") == [["ig", "constant"]]


@pytest.mark.slow
def test_sweeps_expand_as_hydra_does(composer: Composer) -> None:
    expanded = algorithms(composer, "algorithm=[ig,saliency],deeplift", "controls=false", multirun=True)
    assert expanded == [["ig", "saliency"], ["deeplift"]]
    globbed = algorithms(composer, "algorithm=glob(smooth*)", "controls=false", multirun=True)
    assert globbed == [["smoothgrad"], ["smoothgrad_sq"]]
    crossed = preflight(composer, ["algorithm=ig,deeplift", "dataset=digits,sst2"], multirun=True)
    assert [(job.cfg.choice.dataset, job.cfg.choice.model, next(iter(job.cfg.algorithm))) for job in crossed] == [
        ("digits", "cnn", "ig"),
        ("sst2", "text_cnn", "ig"),
        ("digits", "cnn", "deeplift"),
        ("sst2", "text_cnn", "deeplift"),
    ]


def test_the_command_line_wins_over_the_model_of_a_dataset(composer: Composer) -> None:
    (job,) = preflight(composer, ["dataset=sst2", "model=cnn"], multirun=False)
    assert job.cfg.choice.model == "cnn"


def test_parameters_need_not_be_in_the_option_file_or_in_every_job(composer: Composer) -> None:
    overrides = relax(composer, ["algorithm=ig,deeplift", "algorithm.ig.multiply_by_inputs=false"])
    jobs = preflight(composer, overrides, multirun=True)
    assert jobs[0].cfg.algorithm.ig.multiply_by_inputs is False
    assert "ig" not in jobs[1].cfg.algorithm


def test_one_method_twice(composer: Composer) -> None:
    overrides = ["algorithm=ig", "+algorithm@algorithm.ig9=ig", "algorithm.ig9.n_steps=9"]
    (job,) = preflight(composer, relax(composer, overrides), multirun=False)
    assert list(job.cfg.algorithm)[:2] == ["ig", "ig9"]
    assert job.cfg.algorithm.ig9.n_steps == 9


WRONG = [
    (["algorithm=igg"], ["no option 'igg' for algorithm", "did you mean ig"]),
    (["algorithm=[ig,fsat]"], ["no option 'fsat'", "did you mean fast"]),
    (["algorithm=ig,deplift"], ["no option 'deplift'", "did you mean deeplift"]),
    (["algorithm=[ig],[ig,deplift]"], ["no option 'deplift'"]),
    (["algoritm=ig"], ["unknown key 'algoritm'", "did you mean algorithm"]),
    (["+algoritm=ig"], ["unknown key 'algoritm'", "did you mean algorithm"]),
    (["+unknown=1"], ["unknown key 'unknown'", "seed"]),
    (["++unknown.part=1"], ["unknown key 'unknown.part'"]),
    (["sed=1"], ["did you mean seed"]),
    (["seed.x=1"], ["unknown key 'seed.x'"]),
    (["run.devic=cpu"], ["did you mean run.devices"]),
    (["+run.x=1"], ["unknown key 'run.x'"]),
    (["~seed"], ["the key 'seed' cannot be removed"]),
    (["algorithm.igg.n_steps=3"], ["no algorithm 'igg' was chosen", "did you mean ig"]),
    (["algorithm.ig=3"], ["algorithm.ig must be a component"]),
    (["algorithm.ig.n_stepz=3"], ["algorithm.ig.n_stepz", "did you mean n_steps"]),
    (["+algorithm.ig.n_stepz=3"], ["algorithm.ig.n_stepz", "did you mean n_steps"]),
    (["algorithm.ig.n_steps=abc"], ["algorithm.ig.n_steps must be a whole number", "'abc'"]),
    (["algorithm.ig.n_steps=0"], ["algorithm.ig", "n_steps", "0"]),
    (["control.random.x=0"], ["control.random.x"]),
    (["dataset=[digits,sst2]"], ["dataset takes one option", "dataset=digits,sst2 -m"]),
    (["n=abc"], ["n must be a whole number or null", "'abc'"]),
    (["n=0"], ["n must be at least 1"]),
    (["seed=-1"], ["seed must be 0 or more"]),
    (["seed=true"], ["seed must be a whole number"]),
    (["target=prediction"], ["target must be a whole number or list[int] or one of 'predicted', 'label'"]),
    (["reuse=mising"], ["reuse must be one of 'missing', 'retry-failed', 'never', 'only'"]),
    (["name=a/b"], ["'a/b' cannot be a name"]),
    (["run.memory=2XB"], ["run.memory must be auto"]),
    (["run.rows=0"], ["run.rows must be at least 1"]),
    (["run.devices=gpu"], ["run.devices must be auto, cpu, cuda"]),
    (["name=a,b"], ["name cannot be swept"]),
    (["experiment=x"], ["no option 'x' for experiment"]),
    (["model=custom"], ["model.module._target_ must be given"]),
    (["hydra/launcher=nothing"], ["no option 'nothing' for hydra/launcher", "basic"]),
    (["lst"], ["'lst' is neither KEY=VALUE nor a command"]),
    (["name='a"], ["cannot be read"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "words"), WRONG, ids=lambda value: " ".join(value))
def test_what_is_wrong_is_named_with_what_is_allowed(
    composer: Composer, overrides: list[str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        preflight(composer, relax(composer, overrides), multirun=True)
    for word in words:
        assert word in str(error.value)
    assert "To append" not in str(error.value)


def test_a_comma_without_a_sweep_says_how(composer: Composer) -> None:
    with pytest.raises(ConfigError, match=r"add -m .* 'algorithm=\[ig,deeplift\]'"):
        preflight(composer, ["algorithm=ig,deeplift"], multirun=False)


@pytest.mark.parametrize(
    ("path", "text", "overrides", "words"),
    [
        (
            "algorithm/mine.yaml",
            f"# @package algorithm.mine\n_target_: {HERE}.Thing\nstepz: 3\n",
            ["algorithm=mine"],
            ["algorithm.mine.stepz", "did you mean steps"],
        ),
        (
            "algorithm/mine.yaml",
            "defaults: [ig, deplift]\n",
            ["algorithm=mine"],
            ["no option 'deplift'", "did you mean"],
        ),
        (
            "experiment/mine.yaml",
            "# @package _global_\nsed: 3\n",
            ["experiment=mine"],
            ["unknown key 'sed'", "seed"],
        ),
        ("run/mine.yaml", "defaults: [default]\nrow: 3\n", ["run=mine"], ["unknown key 'run.row'", "rows"]),
        (
            "algorithm/mine.yaml",
            "n_steps: 3\n",
            ["algorithm=mine"],
            ["algorithm.n_steps must be a component"],
        ),
        ("dataset/mine.yaml", "source: auto\n", ["dataset=mine"], ["dataset has no _target_"]),
    ],
)
def test_mistakes_in_option_files_of_the_user(
    tmp_path: Path, path: str, text: str, overrides: list[str], words: list[str]
) -> None:
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(text)
    with pytest.raises(ConfigError) as error:
        preflight(Composer(str(tmp_path)), overrides, multirun=False)
    for word in words:
        assert word in str(error.value)


def test_a_sweep_stored_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    sweep = "hydra: {mode: MULTIRUN, sweeper: {params: {algorithm: 'ig,deeplift'}}}"
    text = f"# @package _global_\nn: 5\n{sweep}\n"
    (tmp_path / "experiment" / "two.yaml").write_text(text)
    jobs = preflight(Composer(str(tmp_path)), ["experiment=two"], multirun=False)
    assert [next(iter(job.cfg.algorithm)) for job in jobs] == ["ig", "deeplift"]
    assert jobs[0].cfg.n == 5


def test_a_missing_config_folder_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        Composer("/no/such/folder")
