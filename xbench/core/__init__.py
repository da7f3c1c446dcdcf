"""What is asked of a model: plans of evaluations, cases, layouts, sites, readouts, draws."""
