"""Builds the page of a report with its figures and galleries."""

import base64
import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xbench.report import (
    agreement,
    curves,
    distributions,
    figures,
    gallery,
    matrix,
    methods,
    page,
    problems,
    tradeoff,
    trust,
    versus,
)
from xbench.report.collect import Manifest, Setting
from xbench.store.store import Store
from xbench.tables import tables
from xbench.tables.columns import TableColumn

Progress = Callable[[int, int], None]  # called with the number of finished figures and their total


def page_of(
    store: Store, manifest: Manifest, built: tables.Tables, found: list[Setting], directory: Path, inputs: str,
    *, reuse: bool, progress: Progress,
) -> str:  # fmt: skip
    """Draw the figures under `directory` and return the page; `inputs` is the digest of all that it depends on."""
    # A column without a direction (such as a noise floor) appears in the tables, but does not compare maps.
    columns = [column for column in built.grid.columns if column.direction != "none"]
    scores = built.scores[built.scores["metric"].isin([column.name for column in columns])]
    context = {
        "inputs": inputs,
        **page.overview(manifest, found, built),
        **versus.comparisons(built, found),
        **matrix.matrices(built, found),
        **agreement.matrices(built, found),
        **trust.tables(built),
        **problems.problems(store, built),
        **methods.methods(found, store, manifest),
        **page.environments(built, manifest),
        **_pictures(built, scores, columns, found, directory / "figures", reuse, progress),
        "galleries": _galleries(store, found, scores, columns),
        "most_boxes": distributions.MOST_BOXES,
        "latex": (directory / "tables" / "comparison.tex").read_text(encoding="utf-8"),
        "files": [f"tables/{name}" for name in tables.FILES],
    }
    return render(context)


def render(context: dict[str, Any]) -> str:
    """The page as text. Everything in `context` except `Markup` is escaped; CSS and script are inserted as is."""
    environment = Environment(
        loader=PackageLoader("xbench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    assert environment.loader is not None
    style, _, _ = environment.loader.get_source(environment, "report.css")
    script, _, _ = environment.loader.get_source(environment, "report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("index.html.jinja").render(
        context,
        css=Markup(style),
        script=Markup(script),
        script_hash=f"sha256-{digest}",  # the page's policy allows only this script
    )


def _pictures(
    built: tables.Tables, scores: pd.DataFrame, columns: Sequence[TableColumn], found: list[Setting], folder: Path,
    reuse: bool, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Draw every changed figure, and remove unused files of earlier runs."""
    finished = [s for s in found if any(method.keys for method in s.methods)]
    tradeoffs = [tradeoff.tradeoff(setting, built.summary, columns) for setting in finished]
    spreads = [distributions.distributions(setting, scores, columns) for setting in finished]
    falls = [curves.curves(setting, built.curves) for setting in finished]
    trusted = trust.picture(built)
    every = (*tradeoffs, *itertools.chain(*spreads, *falls), *trusted)
    drafts = [draft for draft in every if isinstance(draft, figures.Draft)]
    drawn: dict[str, figures.Picture] = {}
    for draft in drafts:
        progress(len(drawn), len(drafts))
        drawn[draft.name] = figures.picture(draft, folder, reuse=reuse)
    progress(len(drawn), len(drafts))
    kept = {file for picture in drawn.values() for file in picture.files}
    for stale in (
        path for kind in ("tradeoff", "distribution", "curve", "trust") for path in folder.glob(f"{kind}-*.p[dn][fg]")
    ):
        if f"{folder.name}/{stale.name}" not in kept:
            stale.unlink()

    def blocks(each: list[list[figures.Draft]]) -> list[dict[str, Any]]:
        return [
            {"title": setting.title, "figures": [drawn[draft.name] for draft in drafts_of]}
            for setting, drafts_of in zip(finished, each, strict=True)
            if drafts_of
        ]

    return {
        "tradeoffs": [drawn[d.name] if isinstance(d, figures.Draft) else d for d in tradeoffs],
        "distributions": blocks(spreads),
        "curves": blocks(falls),
        "trust_figures": [drawn[draft.name] for draft in trusted],
    }


def _galleries(
    store: Store, found: list[Setting], scores: pd.DataFrame, columns: Sequence[TableColumn]
) -> list[gallery.Gallery]:
    """One gallery per setting; the settings share the page's size limit equally."""
    finished = [s for s in found if any(method.keys for method in s.methods)]
    return [gallery.build(store, s, scores, columns, gallery.MAX_BYTES // len(finished)) for s in finished]
