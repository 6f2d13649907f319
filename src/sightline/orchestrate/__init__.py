"""Runs the compiled pipeline on this machine. The one room in `src/` that knows kfp.

local      the command's side: one run from claiming its folder to its summary
runner     the process that hands the pipeline to kfp's local runner, whose output is `pipeline.log`
known      which results of former runs are taken: those whose files are what they were
claim      who may write into a run's folder, and which runs are dead
outcome    what a run came to, read from the traces that it left
processes  which processes belong to a run, and how they end
"""

from sightline.orchestrate.local import run

__all__ = ["run"]
