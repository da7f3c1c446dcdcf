"""DeepLIFT's Rescale rule for any model made of known torch operations, unmodified.

`rescale` and `maxima` have the rules of single operations, `differences` and `exponentials` the gradients that these
pass, `paired` runs them on a batch of inputs and references, and `rule` puts them together.
"""

from xbench.rules.deeplift.rule import Rescale

__all__ = ["Rescale"]
