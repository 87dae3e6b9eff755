"""Running a model from any of its attention modules onwards, with their outputs replaced.

``Replay`` prepares a model, ``Recording`` holds one ordinary forward pass, and ``Replay.logits``
continues it from the sites of ``RowGroup``s. ``discovery`` finds layers and sites, ``selfcheck``
decides whether a model can be replayed, ``observation`` watches a pass, ``forward`` runs recorded
and partial passes, and ``hooks`` gets between a model and its attention.
"""

from headwise.replay.model import Replay
from headwise.replay.recording import Inputs, Recording, RowGroup, Site

__all__ = ["Inputs", "Recording", "Replay", "RowGroup", "Site"]
