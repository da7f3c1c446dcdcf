"""torchtext says on every import that it is archived; here a warning is an error."""

import torchtext

torchtext.disable_torchtext_deprecation_warning()
