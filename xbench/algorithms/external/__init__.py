"""External algorithms: methods of other libraries and functions of users, which call the model themselves."""

from xbench.algorithms.external.base import ExternalAlgorithm
from xbench.algorithms.external.captum import Captum
from xbench.algorithms.external.external import External

__all__ = ["Captum", "External", "ExternalAlgorithm"]
