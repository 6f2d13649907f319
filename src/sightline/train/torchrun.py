"""Runs torchrun so that it ends with its parent process: `python -m sightline.train.torchrun PARENT OPTION…`."""

from __future__ import annotations

import signal
import sys

from sightline.runtime.lifetime import end_with_parent

if __name__ == "__main__":
    from torch.distributed.run import main

    # It passes SIGTERM on to its workers, which end with it if it cannot.
    end_with_parent(int(sys.argv.pop(1)), signal.SIGTERM)
    main()
