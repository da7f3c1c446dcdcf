"""Metrics of explanations of graphs: a part of the graph is kept or taken away."""
