"""What we ask of a Kubeflow Pipelines server: pipelines and versions, runs and their logs, recurring runs."""

from __future__ import annotations

import json
from typing import Any

from sightline.errors import ConfigError
from sightline.orchestrate.kfp_calls import PAGE, Calls
from sightline.runtime import workflow

OVER = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")  # states of a run that has ended


class Server(Calls):
    """A Kubeflow Pipelines server.

    Every method raises ClusterUsageError for what the server refuses, and ClusterError where it fails or does not
    answer.
    """

    def __init__(self, namespace: str | None = None, *, most: int | None = None) -> None:
        """Connect, and see that this is a server whose API we know, and that has `most` seconds for each answer.

        Raises ConfigError for a namespace that the server has no use for, or lacks.
        """
        super().__init__(namespace, most)
        if self.shared and not self.at.namespace:
            raise ConfigError(
                f"The server at {self.at.address} serves several namespaces: name yours with --namespace or "
                "KFP_NAMESPACE."
            )
        if not self.shared and namespace:
            raise ConfigError(
                f"The namespace '{namespace}' cannot be chosen: the server at {self.at.address} runs everything in one "
                "namespace of its own. Leave --namespace and KFP_NAMESPACE out."
            )
        self.namespace = self.at.namespace if self.shared else ""
        client = self.at.client
        self._pipelines = self.kfp.PipelineServiceApi(client)
        self._uploads = self.kfp.PipelineUploadServiceApi(client)
        self._experiments = self.kfp.ExperimentServiceApi(client)
        self._runs = self.kfp.RunServiceApi(client)
        self._recurring = self.kfp.RecurringRunServiceApi(client)

    def run_address(self, run_id: str) -> str:
        """Return where the dashboard shows a run."""
        return f"{self.at.dashboard}/#/runs/details/{run_id}"

    # --- pipelines and their versions

    def pipeline(self, name: str) -> Any | None:
        """Return a pipeline by its name."""
        return self._found(
            f"find the pipeline {name}",
            self._pipelines.pipeline_service_get_pipeline_by_name,
            name,
            **({"namespace": self.namespace} if self.namespace else {}),
        )

    def create_pipeline(self, name: str, description: str) -> Any:
        """Create a pipeline without a version; one that somebody else created meanwhile is as good."""
        pipeline = self.kfp.V2beta1Pipeline(
            name=name, display_name=name, description=description, namespace=self.namespace or None
        )
        return self._created(
            f"create the pipeline {name}",
            lambda: self.pipeline(name),
            self._pipelines.pipeline_service_create_pipeline,
            pipeline,
        )

    def version(self, pipeline_id: str, name: str) -> Any | None:
        """Return a version of a pipeline by its name."""
        listed = self._listed(
            f"list the versions of the pipeline {pipeline_id}",
            "pipeline_versions",
            self._pipelines.pipeline_service_list_pipeline_versions,
            pipeline_id,
            filter=_equals("display_name", name),
        )
        return next((version for version in listed if name in (version.name, version.display_name)), None)

    def upload_version(self, pipeline_id: str, name: str, path: str, description: str, tags: dict[str, str]) -> Any:
        """Upload a compiled pipeline; a version of that name that somebody else uploaded meanwhile is as good."""
        return self._created(
            f"upload the version {name}",
            lambda: self.version(pipeline_id, name),
            self._uploads.upload_pipeline_version,
            path,
            name=name,
            display_name=name,
            pipelineid=pipeline_id,
            description=description,
            tags=json.dumps(tags),
        )

    # --- runs

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created if there is none of this name."""
        return str((self.found_experiment(name) or self._new_experiment(name)).experiment_id)

    def found_experiment(self, name: str) -> Any | None:
        """Return an experiment by its name."""
        listed = self._listed(
            f"list the experiments called {name}",
            "experiments",
            self._experiments.experiment_service_list_experiments,
            filter=_equals("display_name", name),
            **({"namespace": self.namespace} if self.namespace else {}),
        )
        return next((experiment for experiment in listed if experiment.display_name == name), None)

    def newest_runs(self, count: int) -> list[Any]:
        """Return the runs that were started last, the newest first."""
        call = self._runs.run_service_list_runs
        where = {"namespace": self.namespace} if self.namespace else {}
        found = self._call("list the newest runs", call, page_size=count, sort_by="created_at desc", **where)
        return list(found.runs or [])

    def create_run(
        self,
        *,
        name: str,
        description: str,
        experiment_id: str,
        version: Any,
        parameters: dict[str, Any],
        service_account: str | None,
    ) -> Any:
        """Start a run of a version."""
        run = self.kfp.V2beta1Run(
            display_name=name,
            description=description,
            experiment_id=experiment_id,
            pipeline_version_reference=self._reference(version),
            runtime_config=self.kfp.V2beta1RuntimeConfig(parameters=parameters),
            service_account=service_account,
        )
        return self._call(f"start the run {name}", self._runs.run_service_create_run, run)

    def run(self, run_id: str) -> Any:
        """Return a run."""
        return self._call(f"find the run {run_id}", self._runs.run_service_get_run, run_id)

    def runs_named(self, name: str) -> list[Any]:
        """Return the runs of a name, the newest first: several may be called the same."""
        listed = self._listed(
            f"list the runs called {name}",
            "runs",
            self._runs.run_service_list_runs,
            filter=_equals("display_name", name),
            sort_by="created_at desc",
            **({"namespace": self.namespace} if self.namespace else {}),
        )
        return [run for run in listed if run.display_name == name]

    def runs_with(self, word: str) -> list[Any]:
        """Return the newest runs whose names hold a word, a page of them, the newest first."""
        page = self._call(
            f"list the runs called {word}…",
            self._runs.run_service_list_runs,
            page_size=PAGE,
            sort_by="created_at desc",
            filter=_predicate("IS_SUBSTRING", "display_name", word),
            **({"namespace": self.namespace} if self.namespace else {}),
        )
        return page.runs or []

    def terminate(self, run_id: str) -> None:
        """End a run."""
        self._call(f"end the run {run_id}", self._runs.run_service_terminate_run, run_id)

    def workflow(self, run_id: str) -> dict[str, Any]:
        """Return the Argo workflow of a run, as far as it has come, and with it what Kubernetes says about the pods."""
        answer = self._call(f"read how the run {run_id} goes", self._get, f"/apis/v1beta1/runs/{run_id}")
        return workflow.handed_out(answer)

    def log(self, run_id: str, pod: str) -> str:
        """Return the log of a pod, from the archive where the pod is gone."""
        # `object` would read a log of digits as a number, and the client keeps the text of its last answer.
        self._send(f"read the log of {pod}", self._get, f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
        return str(self.at.client.last_response.data)

    # --- recurring runs

    def recurring_runs(self) -> list[Any]:
        """Return all recurring runs of the namespace."""
        return list(
            self._listed(
                "list the recurring runs",
                "recurring_runs",
                self._recurring.recurring_run_service_list_recurring_runs,
                **({"namespace": self.namespace} if self.namespace else {}),
            )
        )

    def create_recurring_run(
        self,
        *,
        name: str,
        description: str,
        experiment_id: str,
        version: Any,
        parameters: dict[str, Any],
        cron: str,
        service_account: str | None,
    ) -> Any:
        """Create a recurring run, disabled: no start is made up for, and no two of its runs go on at a time."""
        recurring = self.kfp.V2beta1RecurringRun(
            display_name=name,
            description=description,
            experiment_id=experiment_id,
            pipeline_version_reference=self._reference(version),
            runtime_config=self.kfp.V2beta1RuntimeConfig(parameters=parameters),
            service_account=service_account,
            trigger=self.kfp.V2beta1Trigger(cron_schedule=self.kfp.V2beta1CronSchedule(cron=cron)),
            mode=self.kfp.RecurringRunMode.DISABLE,
            max_concurrency="1",
            no_catchup=True,
            namespace=self.namespace or None,
        )
        what = f"create the schedule {name}"
        return self._call(what, self._recurring.recurring_run_service_create_recurring_run, recurring)

    def enable(self, recurring_run_id: str, name: str) -> None:
        """Let a recurring run start runs."""
        call = self._recurring.recurring_run_service_enable_recurring_run
        self._call(f"enable the schedule {name}", call, recurring_run_id)

    def disable(self, recurring_run_id: str, name: str) -> None:
        """Keep a recurring run from starting runs."""
        call = self._recurring.recurring_run_service_disable_recurring_run
        self._call(f"pause the schedule {name}", call, recurring_run_id)

    def delete_recurring_run(self, recurring_run_id: str, name: str) -> None:
        """Remove a recurring run. One that is gone already is no error.

        Its runs are left alone: by default Kubernetes would delete one that still goes on together with its schedule.
        """
        call = self._recurring.recurring_run_service_delete_recurring_run
        policy = self.kfp.V2beta1DeletePropagationPolicy.ORPHAN
        self._found(f"remove the schedule {name}", call, recurring_run_id, propagation_policy=policy)

    # --- what these share

    def _reference(self, version: Any) -> Any:
        return self.kfp.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        )

    def _new_experiment(self, name: str) -> Any:
        return self._created(
            f"create the experiment {name}",
            lambda: self.found_experiment(name),
            self._experiments.experiment_service_create_experiment,
            self.kfp.V2beta1Experiment(display_name=name, namespace=self.namespace or None),
        )


def _equals(key: str, value: str) -> str:
    """Return a filter for what is called exactly so."""
    return _predicate("EQUALS", key, value)


def _predicate(operation: str, key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": operation, "key": key, "string_value": value}]})
