"""Running a model from any of its attention modules onwards, with their outputs replaced.

``Replay`` prepares a model; ``Tape`` holds an ordinary forward pass; ``Replay.logits`` runs what
lies behind the sites of ``Group``s. discovery finds layers and sites, selfcheck decides whether the
model can be replayed, recording makes the tape, passing is one replay, patching is how this gets
between a model and its attention.
"""

from headwise.replay.model import Replay
from headwise.replay.tape import Group, Inputs, Site, Tape

__all__ = ["Group", "Inputs", "Replay", "Site", "Tape"]
