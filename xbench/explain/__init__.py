"""One call: a request to an explainer, its maps, and their scores."""
