"""Everything of a report, in order: tables, figures, galleries, and the page last."""

import base64
import hashlib
import itertools
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xbench import tables
from xbench.files import write_atomic
from xbench.report import current, distributions, gallery, methods, page, problems, tradeoff, versus
from xbench.report.collect import Manifest, Setting, settings
from xbench.store import Store


def write(store: Store, manifest: Manifest, directory: Path, *, reuse: bool = False) -> Path:
    """See `xbench.report.write`."""
    built = tables.build(store, manifest)
    files = tables.write(built, directory / "tables")
    found = settings(store, manifest, built.grid)
    path, inputs = directory / "index.html", current.digest(built, found, manifest)
    if reuse and current.is_current(path, inputs):
        return path
    # A column without a direction (a noise floor, say) is in the tables; it is no score to compare maps by.
    names = [column.name for column in built.grid.columns if column.direction != "none"]
    scores = built.scores[built.scores["metric"].isin(names)]
    context = {
        "inputs": inputs,
        **page.overview(manifest, found, built),
        **versus.comparisons(built, found),
        **problems.problems(store, built),
        **methods.methods(found, store, manifest),
        **page.environments(built, manifest),
        **_pictures(built.summary, scores, found, directory / "figures"),
        "galleries": _galleries(store, found, scores),
        "latex": (directory / "tables" / "comparison.tex").read_text(encoding="utf-8"),
        "files": [file.relative_to(directory).as_posix() for file in files],
    }
    write_atomic(path, render(context).encode())
    return path


def render(context: dict[str, Any]) -> str:
    """The page as text. Everything in `context` is escaped but `Markup`; our CSS and script go in whole."""
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
        script_hash=f"sha256-{digest}",  # the page's policy lets this script run and no other
    )


def _pictures(summary: pd.DataFrame, scores: pd.DataFrame, found: list[Setting], folder: Path) -> dict[str, Any]:
    """Draw every figure; files of earlier runs that this one did not draw are removed."""
    finished = [s for s in found if any(method.keys for method in s.methods)]
    tradeoffs = [tradeoff.tradeoff(setting, summary, folder) for setting in finished]
    spreads = [distributions.distributions(setting, scores, folder) for setting in finished]
    kept = {file for picture in itertools.chain(tradeoffs, *spreads) for file in picture.files}
    for stale in (*folder.glob("tradeoff-*.p[dn][fg]"), *folder.glob("distribution-*.p[dn][fg]")):
        if f"{folder.name}/{stale.name}" not in kept:
            stale.unlink()
    blocks = [{"title": s.title, "figures": drawn} for s, drawn in zip(finished, spreads, strict=True) if drawn]
    return {"tradeoffs": tradeoffs, "distributions": blocks}


def _galleries(store: Store, found: list[Setting], scores: pd.DataFrame) -> list[gallery.Gallery]:
    """One gallery per setting; the settings share the bytes a page may spend evenly."""
    finished = [s for s in found if any(method.keys for method in s.methods)]
    return [gallery.build(store, s, scores, gallery.MAX_BYTES // len(finished)) for s in finished]
