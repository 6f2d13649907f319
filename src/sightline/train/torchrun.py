"""Runs torchrun so that it ends with its parent process and says how its processes ended.

`python -m sightline.train.torchrun PARENT FOLDER OPTION…` leaves `ended.json` in FOLDER unless all went well.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sightline.runtime.lifetime import end_with_parent
from sightline.train.failures import Failure, write_ended

SEEN_AFTER = 0.2  # seconds within which torchrun, which looks every 0.1 s, sees that a process has ended


class Closing:
    """What was so when torchrun began to stop its processes, which it is also made to do in time.

    Torch 2.13 has an option for the time, but where a process has failed it takes 30 s all the same
    (`SubprocessContext._poll`); nor does it tell those that it stopped from those that failed.
    """

    def __init__(self, grace: int) -> None:
        """Take the seconds between SIGTERM and SIGKILL."""
        self.grace = grace
        self.time = 0.0
        self.running: set[int] = set()  # local ranks

    def follow(self, context: Any) -> None:
        """Extend the class `torch.distributed.elastic.multiprocessing.api.SubprocessContext`."""
        plain = context.close

        def close(processes: Any, death_sig: Any = None, timeout: int = 30) -> None:
            if not self.time:
                self.time = time.time()
                started = processes.subprocess_handlers.items()
                self.running = {rank for rank, handler in started if handler.proc.poll() is None}
            plain(processes, death_sig, min(timeout, self.grace))

        context.close = close

    def failure(self, rank: int, failed: Any) -> Failure:
        """Translate torchrun's `ProcessFailure`."""
        said = failed.message
        text, error = (said["message"], said["message"]) if isinstance(said, dict) else (said, "")
        stopped = failed.local_rank in self.running
        # Torchrun saw it at the latest then, and what others raised about it meanwhile came after it.
        seen = self.time if stopped else self.time - SEEN_AFTER
        return Failure(rank, failed.pid, failed.exitcode, error, time=seen, stopped=stopped, message=text)


def main(folder: Path, options: list[str]) -> None:
    """Run torchrun; ends this process as it ended."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException, SubprocessContext
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    for name in [name for name in os.environ if name.startswith("PET_")]:  # a launcher's; torchrun would obey them
        del os.environ[name]
    arguments = run.parse_args(options)
    closing = Closing(arguments.shutdown_timeout)
    closing.follow(SubprocessContext)
    try:
        run.run(arguments)
    except ChildFailedError as error:
        write_ended(folder, None, [closing.failure(rank, failed) for rank, failed in error.failures.items()])
        sys.exit(str(error))
    except SignalException as error:
        write_ended(folder, error.sigval, [])
        print(f"torchrun: {error}", file=sys.stderr, flush=True)
        signal.signal(error.sigval, signal.SIG_DFL)
        os.kill(os.getpid(), error.sigval)


if __name__ == "__main__":
    # It passes SIGTERM on to its processes, which end with it if it cannot.
    end_with_parent(int(sys.argv[1]), signal.SIGTERM)
    main(Path(sys.argv[2]), sys.argv[3:])
