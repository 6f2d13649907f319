"""Makes the embedded database, then becomes MLflow's server for it.

`python -m sightline.tracking.serve URI ARGUMENTS…`, with further arguments of `mlflow server`.
"""

from __future__ import annotations

import os
import sys

from sightline.tracking import server


def main(uri: str, *arguments: str) -> None:
    """Serve the database at `uri`; does not return."""
    server.quiet_mlflow()
    with server.one_at_a_time(uri):
        server.make_database(uri)
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
