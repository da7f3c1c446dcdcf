"""The terms of a request to a model: plans of evaluations, cases, layouts, sites, readouts, draws."""
