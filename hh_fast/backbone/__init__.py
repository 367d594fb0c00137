"""Pretrained networks, whose frozen part is computed once for each image."""

from hh_fast.backbone.features import features
from hh_fast.backbone.pretrained import build

__all__ = ["build", "features"]
