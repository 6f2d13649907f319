"""A network of a person's own, small enough to train in seconds: two levels, the deeper one of stride 16."""

from __future__ import annotations

OWN = """\
nc: 80
scales:
  n: [0.50, 0.25, 1024]
  s: [0.50, 0.50, 1024]
activation: nn.LeakyReLU(0.1)
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 2, C3k2, [256, False, 0.25]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, nn.MaxPool2d, [2]]
  - [-1, 2, C3k2, [512, False, 0.25]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 3], 1, Concat, [1]]
  - [-1, 2, C3k2, [256, False]]
  - [[8, 5], 1, Detect, [nc]]
"""
