"""What the code says about its metrics, as pages: docstrings, facts, evidence, option files and stored scores."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from omegaconf import OmegaConf

from xbench.config.nodes import identity, instantiate
from xbench.metrics.base import Column, Family, Metric
from xbench.metrics.evidence import Evidence, Ranked, Shared
from xbench.tables.agreement import MEASURES, agree

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ROOT / "conf" / "metric"
FAMILIES = tuple(family for family in get_args(Family) if family != "own")
_BETTER = {"lower": "lower", "higher": "higher", "none": "neither"}
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*)$")


@dataclass(frozen=True)
class Option:
    """A metric under its name in the command, as its option file builds it."""

    name: str
    text: str
    metric: Metric

    @property
    def summary(self) -> str:
        """The option file's comment."""
        return self.text.splitlines()[1].removeprefix("# ")

    @property
    def parameters(self) -> Iterator[tuple[str, object, str]]:
        """Name, value in the option file, and meaning."""
        meanings = _arguments(type(self.metric))
        comments = dict(re.findall(r"^(\w+): .*?  +# (.*)$", self.text, re.MULTILINE))
        for name, value in yaml.safe_load(self.text).items():
            if not name.startswith("_"):
                yield name, value, (meanings.get(name) or comments.get(name, "")).rstrip(".")


@dataclass(frozen=True)
class Scores:
    """What the controls score, from `docs/metrics/controls.json`.

    Attributes:
        command: how they are computed.
        means: by column, then by algorithm; None where no sample has a value.
        rows: forward rows per sample by the name of the evidence, for input x gradient.
    """

    command: str
    means: Mapping[str, Mapping[str, float | None]]
    rows: Mapping[str, float] = field(default_factory=dict)


@cache
def options() -> tuple[Option, ...]:
    """Every metric in conf/, by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(OPTIONS.glob("*.yaml"))}
    found = []
    for name, text in texts.items():
        if "_target_" in text:
            metric = instantiate(OmegaConf.create(text), f"metric.{name}")  # no file of a metric needs composing
            found.append(Option(name, text, metric))
    return tuple(found)


def page(family: str, scores: Mapping[str, Scores]) -> str:
    """One family's page; `scores` by metric."""
    mine = [option for option in options() if option.metric.facts.family == family]
    question = (OPTIONS / f"{family}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    parts = [
        f"# Metrics: {family}\n\n{question} `metric={family}` selects the family, `xbench list metrics NAME` prints "
        f"one metric.\n\n{_NOTE}",
        "\n".join(f"- [{option.metric.facts.label}](#{option.name}): {option.summary}" for option in mine),
        *(_entry(option, scores[option.name]) for option in mine),
    ]
    return "\n\n".join(parts) + "\n"


_NOTE = (
    "This page is written by `python experiments/metric_pages.py` from the docstrings, the facts and the option files. "
    "Rows are forward rows per sample for a map of input x gradient. `inverse` is the negative of that map, `truth` "
    "the mask of the evidence; a dash is undefined or not applicable."
)


def agreement_page() -> str:
    """The page of the measures of agreement, which are tables and no metrics."""
    _, body = inspect.cleandoc(agree.__doc__ or "").split("\nArgs:")[0].strip().split("\n\n", 1)
    lines = [f"| {m.label} | `{m.name}` | {m.meaning} |" for m in MEASURES]
    return (
        "# Agreement between methods\n\nHow far does each pair of methods agree on a sample? `agreement=0.25` takes a "
        "quarter of the features of a sample as the most important ones, `agreement=5` takes five, `agreement=null` "
        "computes nothing. The stored maps are all that is needed: no evaluation, no explanation. The results are "
        "`tables/agreement.csv`, matrices in the report and `xbench.results().agreement`.\n\nThis page is written by "
        f"`python experiments/metric_pages.py`.\n\n{body}\n\n| measure | column | meaning |\n|---|---|---|\n"
        + "\n".join(lines)
        + "\n\n**Range and direction**: 0 to 1, the rank correlation -1 to 1; 1 is full agreement. No direction: two "
        "methods may agree and both be wrong.\n\n**Pitfall**: agreement does not show that methods are right, and the "
        "measures of the most important features depend on how many these are.\n\n"
        "**Source**: Krishna, Han, Gu, Pombra, Jabbari, Wu, Lakkaraju 2022, The Disagreement Problem in Explainable "
        "Machine Learning: A Practitioner's Perspective, arXiv 2202.01602.\n"
    )


def _entry(option: Option, scores: Scores) -> str:
    facts = option.metric.facts
    text = inspect.cleandoc(type(option.metric).__doc__ or "").split("\nArgs:")[0].strip()
    text = re.sub(r"\n*The (other )?parameters are those of `\w+`\.\n*", "\n", text)
    body, pitfall, source = _split(text)
    columns = [
        f"| `{name}` | {_cell(column.meaning)} | {_range(column)} | {_BETTER[column.direction]} |"
        for name, column in facts.columns.items()
    ]
    needs = ", ".join(need.value for need in facts.needs) or "nothing beyond a map and a model"
    lines = [f"| `{name}` | `{_shown(value)}` | {_cell(meaning)} |" for name, value, meaning in option.parameters]
    given = ["| parameter | value | meaning |\n|---|---|---|\n" + "\n".join(lines)] if lines else ["No parameters."]
    return "\n\n".join(
        [
            f"## {option.name}",
            f"**{facts.label}**. {body}",
            "| column | meaning | range | better |\n|---|---|---|---|\n" + "\n".join(columns),
            f"**Needs**: {needs}.",
            f"**Cost**: {_cost(option, scores)}",
            f"**Pitfall**: {pitfall}",
            f"**Source**: {source}",
            *given,
            _controls(facts.columns, scores),
        ]
    )


def _split(text: str) -> tuple[str, str, str]:
    """A docstring's body, its pitfall and its source; what follows a source's paragraph belongs to the body."""
    body, source = text.split("Source:", 1)
    source, _, after = source.partition("\n\n")
    body, pitfall = body.split("Pitfall:", 1)
    pitfall, _, more = pitfall.partition("\n\n")
    rest = "\n\n".join(part.strip() for part in (body.rstrip(), more, after) if part.strip())
    return rest, *(_sentence(part) for part in (pitfall, source))


def _sentence(text: str) -> str:
    one = " ".join(text.split())
    return one[:1].upper() + one[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _range(column: Column) -> str:
    low, high = ("" if bound is None else f"{bound:g}" for bound in (column.low, column.high))
    if low and high:
        return f"{low} to {high}"
    return f"from {low}" if low else f"up to {high}" if high else "any"


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _cost(option: Option, scores: Scores) -> str:
    evidence = tuple(dict.fromkeys(option.metric.evidence))
    if not evidence:
        return "arithmetic on the map: no evaluation, no explanation."
    said = []
    for each in evidence:
        what = (
            "evaluations once for all algorithms" if isinstance(each, Shared)
            else "evaluations once per algorithm" if isinstance(each, Ranked)
            else "explanations once per algorithm"
        )  # fmt: skip
        known = scores.rows.get(evidence_name(each))
        rows = "" if known is None else f", {known:g} rows"
        others = [f"`{other.name}`" for other in options() if other is not option and each in other.metric.evidence]
        shared = f", shared with {', '.join(others)}" if others else ""
        said.append(f"`{type(each).__name__}`: {what}{rows}{shared}")
    return "; ".join(said) + "."


def digest(evidence: object) -> str:
    """The identity of evidence, as text."""
    return key(identity(evidence))


def key(found: object) -> str:
    """The same of the identity in a record."""
    return json.dumps(found, sort_keys=True)


def evidence_name(evidence: Evidence) -> str:
    """A name that equal evidence shares: the class and its settings."""
    return repr(evidence)


def _controls(columns: Mapping[str, Column], scores: Scores) -> str:
    names = [name for name in columns if name in scores.means]
    algorithms = list(dict.fromkeys(algorithm for name in names for algorithm in scores.means[name]))
    head = f"| mean | {' | '.join(algorithms)} |\n|---|{'---|' * len(algorithms)}"
    lines = [
        f"| `{name}` | {' | '.join(_number(scores.means[name].get(algorithm)) for algorithm in algorithms)} |"
        for name in names
    ]
    return f"Controls, `{scores.command}`:\n\n" + "\n".join([head, *lines])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _arguments(target: type[Any]) -> dict[str, str]:
    """The meanings of the parameters in the docstrings of a class and its bases; the class itself comes first."""
    found: dict[str, str] = {}
    for each in reversed(target.__mro__):
        _, _, given = inspect.cleandoc(each.__dict__.get("__doc__") or "").partition("\nArgs:\n")
        name = ""
        for line in given.splitlines():
            if match := _ARGUMENT.match(line):
                name, found[match[1]] = match[1], match[2].strip()
            elif name and line.startswith(" " * 8):
                found[name] += f" {line.strip()}"
            else:
                name = ""
    return found


def index(families: Sequence[str]) -> str:
    """The table of contents."""
    lines = []
    for family in families:
        mine = [option.name for option in options() if option.metric.facts.family == family]
        links = ", ".join(f"[{name}]({family}.md#{name})" for name in mine)
        lines.append(f"| [{family}]({family}.md) | {links} |")
    return (
        "# Metrics\n\nOne page per family: for each metric its formula, meaning, range, direction, cost, pitfall, "
        "parameters, and the scores of the controls. `python experiments/metric_pages.py` writes the pages.\n\n"
        "| family | metrics |\n|---|---|\n"
        + "\n".join(lines)
        + "\n| [agreement](agreement.md) | of each two methods |\n"
        "\n[Metrics beside other suites](../other_suites.md) lists where the definitions differ from those of other "
        "libraries.\n"
    )
