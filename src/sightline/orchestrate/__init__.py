"""Runs the compiled pipeline on this machine, and sends it to a cluster. The only package in `src/` that knows kfp.

On this machine:

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

On a cluster:

connection      where the Kubeflow Pipelines server is, and who asks
kfp_calls       how every call goes: time limits, pages, errors (in words: kfp_errors)
kfp_api         what we ask of the server
registry        the references that a cluster can fetch, and whether the images are there
registry_api    asks a container registry, with the logins of Docker and Podman
versions        the package that is sent, and its upload by content
submit          a run
cluster_check   whether a cluster can do a run, asked before it costs anything
follow          a run to its end
resubmit        starts a run again that the cluster ended
cluster_results what a run left in the store
schedule_file   the file that declares recurring runs
cron            its times, as KFP's server reads them
schedules       recurring runs that match the file
"""

from sightline.orchestrate.local import run

__all__ = ["run"]
