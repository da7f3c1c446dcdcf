"""One call: a request, the explainer, its maps, and their scores."""
