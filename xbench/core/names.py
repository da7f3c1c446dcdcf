"""Names that the command checks before torch is loaded, and that the code behind them goes by. No torch."""

import re
from typing import Literal

Output = Literal["logit", "probability", "log_probability", "value"]
Precision = Literal["fp32", "bf16"]
Compile = Literal["default", "reduce-overhead", "max-autotune"]

TARGETS = ("predicted", "label")  # targets that are not numbers
NUMBER_BASELINES = ("zero", "mean", "blur", "noise", "uniform", "train")
TOKEN_BASELINES = ("mask", "pad")
SIGNS = ("signed", "absolute", "positive")  # of relevance, for metrics
NORMALISERS = ("none", "range", "max")  # of the relevance of a sample's features
CHANNELS = ("sum", "sum_abs", "l2", "mean")  # how the elements of a feature become one number
BASELINES = (*NUMBER_BASELINES, *TOKEN_BASELINES)

# A layer without a name is the model itself, which Python can point at and the command cannot.
SITE = re.compile(r"(?P<layer>[^:@]*)(@(?P<call>[1-9]\d*))?(:(?P<at>input|output))?")
SITE_FORMS = "LAYER, LAYER:input, LAYER@CALL or LAYER@CALL:input"
