"""Pretrained networks, and the frozen front of any model, which is computed once for each image."""

from hh_fast.backbone.features import Front, features
from hh_fast.backbone.frozen import split, unfreeze
from hh_fast.backbone.pretrained import build

__all__ = ["Front", "build", "features", "split", "unfreeze"]
