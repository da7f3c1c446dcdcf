"""Graphs: parts named nodes (n, N, F) and edges (n, N, N)."""

from xbench.modalities.late import graphs, groups
from xbench.modalities.record import Modality

MODALITY = Modality(
    called="nodes and edges",
    features={"nodes": groups.first, "edges": groups.second},
    picture=graphs.drawing,
    heat=graphs.heat,
)
