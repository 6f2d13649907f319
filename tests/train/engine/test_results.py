"""What a training leaves; with torch, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import torch
from torch import nn
from sightline.train.engine.results import unsynchronise

torch.manual_seed(0)
plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.03), nn.Sequential(nn.BatchNorm2d(4)))
plain(torch.rand(8, 3, 16, 16))
image = torch.rand(2, 3, 16, 16)
expected = plain.eval()(image)
synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
print(sum(isinstance(module, nn.SyncBatchNorm) for module in synchronised.modules()))
unsynchronise(synchronised)
print(sum(isinstance(module, nn.SyncBatchNorm) for module in synchronised.modules()))
print(synchronised[1].eps, synchronised[1].momentum, torch.equal(synchronised.eval()(image), expected))
"""


def test_what_was_synchronised_over_gpus_leaves_as_plain_batch_normalisation() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["2", "0", "0.001", "0.03", "True"]
