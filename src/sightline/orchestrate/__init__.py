"""Runs the compiled pipeline on this machine. The only package in `src/` that knows kfp.

local           one run from the command's side: claim the folder, watch the runner, write the summary
runner          the process that hands the pipeline to kfp's local runner; its output is `pipeline.log`
containers      runs tasks in containers, in place of kfp's handler
container_settings  what a container gets: folders, environment, user, shared memory, GPUs
inputs          which places on this disk a run reads
engine          the container engine: is it there, has it the images, which containers belong to a run
images          the tags of the images, and the references that a run uses
tracking_server serves the embedded tracking database to containers
cached_results  reuses results of earlier runs whose files have not changed
claim           who may write into a run's folder, and which runs are dead
outcome         how a run ended, read from the files that it left
processes       which processes and containers belong to a run, and how they are ended
shell           how the runner's shell starts a task
"""

from sightline.orchestrate.local import run

__all__ = ["run"]
