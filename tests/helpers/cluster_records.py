"""What KFP and MLflow keep of a session of tests on a cluster: found, and in the end removed."""

from __future__ import annotations

import contextlib
from typing import Any

from sightline.errors import ClusterError
from sightline.orchestrate.kfp_api import OVER, Server
from sightline.tracking.address import RUN_TAG
from tests.helpers.cluster import Cluster


def versions(server: Server, pipeline: str) -> list[Any]:
    """The versions of a pipeline, which need not be there."""
    found = server.pipeline(pipeline)
    api = server.kfp.PipelineServiceApi(server.at.client)
    listed = api.pipeline_service_list_pipeline_versions(found.pipeline_id, page_size=100) if found else None
    return list(listed.pipeline_versions or []) if listed else []


def runs_of(server: Server, experiment_id: str) -> list[Any]:
    """The runs in an experiment, the newest first."""
    api = server.kfp.RunServiceApi(server.at.client)
    found = api.run_service_list_runs(experiment_id=experiment_id, page_size=100, sort_by="created_at desc")
    return list(found.runs or [])


def recorded(cluster: Cluster, run_id: str) -> list[Any]:
    """The MLflow runs of a run."""
    from mlflow import MlflowClient

    mlflow = MlflowClient(cluster.tracking)
    everywhere = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    return list(mlflow.search_runs(everywhere, f"tags.`{RUN_TAG}` = '{run_id}'"))


def forget(cluster: Cluster, pipeline: str, known: list[Any]) -> None:
    """Remove runs and uploads of this session; of the pipeline, the versions that were not known before."""
    server, kfp, client = cluster.server, cluster.server.kfp, cluster.server.at.client
    experiment = server.experiment(cluster.at.session)
    runs = kfp.RunServiceApi(client)
    for run in runs_of(server, experiment):
        if run.state not in OVER:
            with contextlib.suppress(ClusterError):  # it has ended since
                server.terminate(run.run_id)
        runs.run_service_delete_run(run.run_id)
    kfp.ExperimentServiceApi(client).experiment_service_delete_experiment(experiment)
    pipelines = kfp.PipelineServiceApi(client)
    kept = {version.pipeline_version_id for version in known}
    for name in (pipeline, cluster.at.session):
        for version in versions(server, name):
            if version.pipeline_version_id not in kept:
                pipelines.pipeline_service_delete_pipeline_version(version.pipeline_id, version.pipeline_version_id)
        if (found := server.pipeline(name)) and not (kept and name == pipeline):
            pipelines.pipeline_service_delete_pipeline(found.pipeline_id)
    cluster.bucket.empty(f"{cluster.at.session}/")
