"""The comparison as a LaTeX table."""

import re

from xbench.tables import latex


def test_latex_escapes_and_splits(sample, maker):
    text = latex.table(sample.grid)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == 2
    assert r"\textbf{0.0543}\,$_{0.0384}^{0.0760}$" in text
    assert r"\textbf{0.155}$\dagger$" in text
    assert r"text\_cnn" in text
    assert not re.search(r"(?<!\\)[%#&](?![^\n]*\\\\)", text)
    info = {"label": r"50% & _{x}^\~$#<|>", "control": False}
    maker.done("odd", None, {"runtime": [1.0]}, info=info)
    maker.done("odd", "error", {"error": [1e-7, 3e-7]})
    escaped = latex.table(maker.build().grid)
    label = r"50\% \& \_\{x\}\textasciicircum{}\textbackslash{}\textasciitilde{}\$\#"
    label += r"\textless{}\textbar{}\textgreater{}"
    assert label in escaped
    assert r"2.00$\times$10\textsuperscript{$-$7}" in escaped
    assert r"$_{1.00{\times}10^{-7}}^{3.00{\times}10^{-7}}$" in escaped


def test_latex_sets_the_greek_of_relevance_propagation(maker):
    maker.done("lrp", None, {"runtime": [1.0]}, info={"label": "LRP-ε-γ-α2β1", "control": False})
    assert r"LRP-$\varepsilon$-$\gamma$-$\alpha$2$\beta$1 & " in latex.table(maker.build().grid)


def test_latex_heads_columns_as_their_metrics_say(maker):
    maker.done("ig", "mine", {"agreed": [0.5]}, facts={"label": "Agreement & trust", "short": "Agreed"})
    assert r"\shortstack[r]{Agreement\\\&\\trust~$\downarrow$}" in latex.table(maker.build().grid)
