"""Well-known tables: three bundled with scikit-learn, three read from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from xbench.datasets.delimited import read, require
from xbench.datasets.found import Wanted
from xbench.datasets.record import Dataset
from xbench.datasets.table import build


def words(text: str) -> list[str]:
    return text.split()


_NUCLEUS = words(
    "radius texture perimeter area smoothness compactness concavity concave_points symmetry fractal_dimension"
)
_WINE = words("""
    alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids nonflavanoid_phenols proanthocyanins
    color_intensity hue od280/od315 proline
""")
_DIABETES = words("age sex bmi blood_pressure tc ldl hdl tch ltg glu")
_ADULT = words("""
    age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain
    capital-loss hours-per-week native-country income
""")


@dataclass(frozen=True)
class BreastCancer:
    """569 tumours with 30 measurements of cell nuclei; the class is malignant or benign.

    Source: W. Wolberg, O. Mangasarian, N. Street, W. Street, "Breast Cancer Wisconsin (Diagnostic)", UCI Machine
    Learning Repository, 1993, https://doi.org/10.24432/C5DW2B, as scikit-learn bundles it.
    """

    def load(self) -> Dataset:
        columns = [f"{kind}_{name}" for kind in ("mean", "error", "worst") for name in _NUCLEUS]
        frame = _bundled("breast_cancer.csv", columns)
        origin = "breast cancer (Wisconsin, diagnostic) bundled with scikit-learn (UCI, Wolberg et al. 1993)"
        return build("breast_cancer", frame, "target", origin=origin, classes=("malignant", "benign"))


@dataclass(frozen=True)
class Wine:
    """178 wines with 13 chemical measurements; the class is one of three cultivars.

    Source: S. Aeberhard, M. Forina, "Wine", UCI Machine Learning Repository, 1992,
    https://doi.org/10.24432/C5PC7J, as scikit-learn bundles it.
    """

    def load(self) -> Dataset:
        origin = "wine recognition bundled with scikit-learn (UCI, Aeberhard and Forina 1992)"
        classes = ("cultivar 0", "cultivar 1", "cultivar 2")
        return build("wine", _bundled("wine_data.csv", _WINE), "target", origin=origin, classes=classes)


@dataclass(frozen=True)
class Diabetes:
    """442 patients with 10 measurements; a regression of the disease's progression within a year.

    Source: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, "Least Angle Regression", Annals of Statistics 2004,
    as scikit-learn bundles it, in the measurements' own units.
    """

    def load(self) -> Dataset:
        folder = _folder()
        frame = pd.DataFrame(np.loadtxt(folder / "diabetes_data_raw.csv.gz"), columns=pd.Index(_DIABETES))
        frame["progression"] = np.loadtxt(folder / "diabetes_target.csv.gz")
        origin = "diabetes progression bundled with scikit-learn (Efron et al. 2004)"
        return build("diabetes", frame, "progression", origin=origin, task="regression")


@dataclass(frozen=True)
class Adult:
    """Adult: 32,561 people of the 1994 US census; the class says whether one earns more than 50,000 dollars a year.

    Source: B. Becker, R. Kohavi, "Adult", UCI Machine Learning Repository, 1996, https://doi.org/10.24432/C5XW20.
    """

    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _ADULT_FILE.find(self.data_dir)
        frame = read(path, missing=("?",), header=_ADULT)
        if set(frame["income"].dropna()) != {"<=50K", ">50K"}:
            raise ValueError(f"{path}: the last column must be <=50K or >50K, found {set(frame['income'])}")
        # Dropped: the survey weight (how many people a row stands for), and education-num, which repeats education.
        frame = frame.drop(columns=["fnlwgt", "education-num"])
        return build(
            "adult", frame, "income", origin="Adult, census income (UCI, Becker and Kohavi 1996)", source=str(path)
        )


@dataclass(frozen=True)
class Titanic:
    """Titanic: 891 passengers; the class says who survived.

    Source: the passenger list in the seaborn project's copy (titanic.csv), without columns that repeat others.
    """

    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _TITANIC_FILE.find(self.data_dir)
        used = ["survived", "pclass", "sex", "age", "sibsp", "parch", "fare", "embarked"]
        frame = read(path)
        require(path, frame, used)
        return build(
            "titanic", frame[used], "survived", classes=("died", "survived"), source=str(path),
            origin="passengers of the Titanic (seaborn-data)",
        )  # fmt: skip


@dataclass(frozen=True)
class Compas:
    """COMPAS: 7,214 defendants; the class says who was arrested again within two years.

    Source: J. Larson, S. Mattu, L. Kirchner, J. Angwin, "How We Analyzed the COMPAS Recidivism Algorithm",
    ProPublica 2016. Columns that repeat the target or the company's own score are left out.
    """

    data_dir: str | None = None

    def load(self) -> Dataset:
        path = _COMPAS_FILE.find(self.data_dir)
        used = ["two_year_recid", "sex", "age", "race", "juv_fel_count", "juv_misd_count", "juv_other_count"]
        used += ["priors_count", "c_charge_degree"]
        frame = read(path)
        require(path, frame, used)
        return build(
            "compas", frame[used], "two_year_recid", classes=("not again", "again"), source=str(path),
            origin="COMPAS, two years (ProPublica 2016)",
        )  # fmt: skip


_RAW = "https://raw.githubusercontent.com"
_ADULT_FILE = Wanted(
    "adult/adult.data",
    "UCI's file of 32,561 lines without a header",
    f"{_RAW}/shap/shap/df974a196629/data/adult.data",
    "df25a4e32ed6f1bd4b3910d21a7bd661a09061eced7cb45555a519d9667cc87b",
)
_TITANIC_FILE = Wanted(
    "titanic/titanic.csv",
    "the table of seaborn-data",
    f"{_RAW}/mwaskom/seaborn-data/71e2436a092d/titanic.csv",
    "81787d320d7f7b03df935e91de8bd19e11d45c5bbcab86ef4d4a76dc91b7d4f2",
)
_COMPAS_FILE = Wanted(
    "compas/compas-two-years-deidentified.csv",
    "ProPublica's compas-scores-two-years.csv; columns with names, dates and case numbers may be left out",
)


def _folder() -> Path:
    # Importing scikit-learn for a reader of a few lines would add a second to the start of every command.
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data"


def _bundled(file: str, columns: Sequence[str]) -> pd.DataFrame:
    values = np.loadtxt(_folder() / file, delimiter=",", skiprows=1)
    frame = pd.DataFrame(values[:, :-1], columns=pd.Index(columns))
    frame["target"] = values[:, -1].astype(int)
    return frame
