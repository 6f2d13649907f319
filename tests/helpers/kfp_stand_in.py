"""A server that speaks KFP's API: written from its published OpenAPI, whose models read each request and write each
answer, and with the behaviour of KFP 2.17's API server where a client sees it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import kfp_server_api as kfp
import yaml

TIME = "2026-11-28T02:00:00Z"


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class StandIn:
    """The state of a server, and what a test may change about it."""

    def __init__(self) -> None:
        self.address = ""
        self.tag_name: str | None = "2.17.0"
        self.multi_user = False
        self.namespaces = {"team-a"}  # of a server with several: what the token may use
        self.token: str | None = None  # that a request must carry
        self.pages_of = 200
        self.faults: dict[str, list[tuple[int, str] | str]] = {}  # by "METHOD /path": answers in place of the next ones
        self.requests: list[str] = []
        self.pipelines: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.sent: dict[str, str] = {}  # the uploaded text of each version
        self.experiments: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.recurring: dict[str, Any] = {}
        self.frames: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # what each look at a run shows; the last stays
        self.script: list[tuple[str, dict[str, Any]]] = [("SUCCEEDED", {})]  # the frames of new runs
        self.scripts: list[
            list[tuple[str, dict[str, Any]]]
        ] = []  # and of the next ones, run by run, where there are any
        self.after_end: tuple[str, dict[str, Any]] | None = None  # what a run shows once it was terminated
        self.spec: dict[str, Any] = {}  # of every workflow
        self.logs: dict[str, str] = {}  # by pod
        self.deletions: list[dict[str, str]] = []  # the queries of deleted recurring runs
        self._client = kfp.ApiClient(kfp.Configuration())

    # --- models

    def read(self, model: str, body: Any) -> Any:
        """Read a request's body as a model of the OpenAPI; unknown fields are refused, as the gateway does."""
        kind = getattr(kfp, model)
        if not isinstance(body, dict):
            raise Refusal(400, f"expected a {model}")
        if unknown := set(body) - set(kind.attribute_map.values()):
            raise Refusal(400, f'unknown field "{min(unknown)}"')
        return self._client._ApiClient__deserialize(body, model)

    def write(self, answer: Any) -> Any:
        """Write an answer; a plain dictionary is one that the OpenAPI does not describe."""
        return self._client.sanitize_for_serialization(answer)

    # --- how requests are answered

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        for route_method, pattern, handle in self.routes():
            if route_method == method and (match := re.fullmatch(pattern, path)):
                return handle(*match.groups(), query=query, body=body)
        raise Refusal(404, "Not Found")

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        api = "/apis/v2beta1"
        return [
            ("GET", f"{api}/healthz", self.health),
            ("GET", f"{api}/pipelines/names/([^/]+)", self.pipeline_by_name),
            ("POST", f"{api}/pipelines", self.create_pipeline),
            ("POST", f"{api}/pipelines/upload_version", self.upload_version),
            ("GET", f"{api}/pipelines/([^/]+)/versions", self.list_versions),
            ("GET", f"{api}/experiments", self.list_experiments),
            ("POST", f"{api}/experiments", self.create_experiment),
            ("GET", f"{api}/runs", self.list_runs),
            ("POST", f"{api}/runs", self.create_run),
            ("GET", f"{api}/runs/([^/:]+)", self.get_run),
            ("POST", f"{api}/runs/([^/:]+):terminate", self.terminate),
            ("GET", f"{api}/recurringruns", self.list_recurring),
            ("POST", f"{api}/recurringruns", self.create_recurring),
            ("POST", f"{api}/recurringruns/([^/:]+):(enable|disable)", self.switch),
            ("DELETE", f"{api}/recurringruns/([^/:]+)", self.delete_recurring),
            ("GET", "/apis/v1beta1/runs/([^/]+)", self.workflow),
            ("GET", "/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", self.log),
        ]

    def health(self, **_: Any) -> Any:
        if self.tag_name is None:
            raise Refusal(404, "Not Found")
        return {"commit_sha": "unknown", "tag_name": self.tag_name, "multi_user": self.multi_user}

    def _namespace(self, given: str | None) -> str:
        """Return the namespace that counts: a server of one user ignores what is given."""
        if not self.multi_user:
            return ""
        if not given:
            raise Refusal(400, "A namespace cannot be empty in multi-user mode.")
        if given not in self.namespaces:
            raise Refusal(403, f"User 'ci' is not authorized with reason:  (request: namespace {given})")
        return given

    def _listed(self, field: str, model: str, items: list[Any], query: dict[str, str]) -> Any:
        """Return a page of what fits the filter."""
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            wanted = self.read("V2beta1Predicate", predicate)
            word, whole = wanted.string_value, wanted.operation == "EQUALS"
            assert whole or wanted.operation == "IS_SUBSTRING"
            values = [(item, getattr(item, wanted.key)) for item in items]
            items = [item for item, value in values if (value == word if whole else word in value)]
        size = min(int(query.get("page_size") or 20), self.pages_of)
        start = int(query.get("page_token") or 0)
        rest = str(start + size) if start + size < len(items) else ""
        page = {field: items[start : start + size] or None, "total_size": len(items), "next_page_token": rest}
        return getattr(kfp, model)(**page)

    # --- pipelines

    def pipeline_by_name(self, name: str, *, query: dict[str, str], **_: Any) -> Any:
        namespace = self._namespace(query.get("namespace"))
        for pipeline in self.pipelines.values():
            if (pipeline.name, pipeline.namespace or "") == (unquote(name), namespace):
                return pipeline
        raise Refusal(404, f"Pipeline {unquote(name)} not found")

    def create_pipeline(self, *, body: Any, **_: Any) -> Any:
        pipeline = self.read("V2beta1Pipeline", body)
        pipeline.namespace = self._namespace(pipeline.namespace) or None
        if any((old.name, old.namespace) == (pipeline.name, pipeline.namespace) for old in self.pipelines.values()):
            raise Refusal(409, f"Failed to create a new pipeline. The name {pipeline.name} already exist.")
        pipeline.pipeline_id, pipeline.created_at = str(uuid.uuid4()), TIME
        self.pipelines[pipeline.pipeline_id] = pipeline
        return pipeline

    def upload_version(self, *, query: dict[str, str], body: Any, **_: Any) -> Any:
        pipeline_id, name = query.get("pipelineid", ""), query.get("name", "")
        tags = json.loads(query.get("tags") or "{}")
        if pipeline_id not in self.pipelines or len(name) > 127:
            raise Refusal(400, "Failed to create a pipeline version")
        if len(tags) > 20 or any("." in key or len(key) > 63 or len(value) > 63 for key, value in tags.items()):
            raise Refusal(400, "tag value exceeds maximum length of 63 characters")
        if any((old.pipeline_id, old.name) == (pipeline_id, name) for old in self.versions.values()):
            raise Refusal(409, "Failed to create a pipeline version")
        if "pipelineInfo" not in next(yaml.safe_load_all(body)):
            raise Refusal(400, "unknown template format: pipeline spec is invalid")
        version = kfp.V2beta1PipelineVersion(
            pipeline_id=pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            name=name,
            display_name=query.get("display_name") or name,
            description=query.get("description"),
            tags=tags,
        )
        self.versions[version.pipeline_version_id] = version
        self.sent[version.pipeline_version_id] = body
        return version

    def list_versions(self, pipeline_id: str, *, query: dict[str, str], **_: Any) -> Any:
        items = [version for version in self.versions.values() if version.pipeline_id == pipeline_id]
        return self._listed("pipeline_versions", "V2beta1ListPipelineVersionsResponse", items, query)

    # --- experiments and runs

    def list_experiments(self, *, query: dict[str, str], **_: Any) -> Any:
        namespace = self._namespace(query.get("namespace"))
        items = [item for item in self.experiments.values() if (item.namespace or "") == namespace]
        return self._listed("experiments", "V2beta1ListExperimentsResponse", items, query)

    def create_experiment(self, *, body: Any, **_: Any) -> Any:
        experiment = self.read("V2beta1Experiment", body)
        experiment.namespace = self._namespace(experiment.namespace) or None
        names = [(old.display_name, old.namespace) for old in self.experiments.values()]
        if (experiment.display_name, experiment.namespace) in names:
            raise Refusal(409, f"Failed to create a new experiment. The name {experiment.display_name} already exists.")
        experiment.experiment_id = str(uuid.uuid4())
        self.experiments[experiment.experiment_id] = experiment
        return experiment

    def create_run(self, *, body: Any, **_: Any) -> Any:
        run = self.read("V2beta1Run", body)
        if not run.display_name:
            raise Refusal(400, "The run name is empty. Please specify a valid name")
        self._check_start(run)
        run.run_id, run.state = str(uuid.uuid4()), "PENDING"
        run.created_at = datetime.fromisoformat(TIME) + timedelta(seconds=len(self.runs))
        self.runs[run.run_id] = run
        self.frames[run.run_id] = list(self.scripts.pop(0) if self.scripts else self.script)
        return run

    def list_runs(self, *, query: dict[str, str], **_: Any) -> Any:
        self._namespace(query.get("namespace"))
        for run_id in self.runs:
            self.get_run(run_id)
        assert query.get("sort_by") in (None, "created_at desc")
        items = sorted(self.runs.values(), key=lambda run: run.created_at, reverse="sort_by" in query)
        return self._listed("runs", "V2beta1ListRunsResponse", items, query)

    def get_run(self, run_id: str, **_: Any) -> Any:
        run = self._run(run_id)
        run.state = self.frames[run_id][0][0]
        return run

    def workflow(self, run_id: str, **_: Any) -> Any:
        """The first version of the API, of which the OpenAPI of today has no model. Each look moves on by a frame."""
        self._run(run_id)
        frames = self.frames[run_id]
        state, nodes = frames.pop(0) if len(frames) > 1 else frames[0]
        metadata = {"name": "sightline-train-x7", "namespace": "kubeflow"}
        status = {"phase": state.capitalize(), "startedAt": "2026-11-28T02:00:00Z", "nodes": nodes}
        manifest = {"metadata": metadata, "status": status}
        manifest |= {"spec": self.spec} if self.spec else {}
        return {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": json.dumps(manifest)}}

    def terminate(self, run_id: str, **_: Any) -> Any:
        self._run(run_id)
        last = self.frames[run_id][-1]
        self.frames[run_id] = [self.after_end or ("FAILED", last[1])]
        return {}

    def log(self, run_id: str, pod: str, **_: Any) -> Any:
        self._run(run_id)
        missing = {"error_message": f"Failed to read logs for run {run_id}", "error_details": "not found"}
        return self.logs.get(pod, json.dumps(missing))  # with status 200: the head is gone before the log is looked for

    def _run(self, run_id: str) -> Any:
        if run_id not in self.runs:
            raise Refusal(404, f"Run {run_id} not found")
        return self.runs[run_id]

    def _check_start(self, item: Any) -> None:
        """Refuse what KFP refuses of a run and of a recurring run."""
        reference = item.pipeline_version_reference
        version = self.versions.get(reference.pipeline_version_id)
        if version is None or item.experiment_id not in self.experiments:
            raise Refusal(404, "PipelineVersion or Experiment not found")
        spec = next(yaml.safe_load_all(self.sent[version.pipeline_version_id]))
        known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, value in (item.runtime_config.parameters or {}).items():
            if name not in known:
                raise Refusal(400, f"parameter {name} provided is not defined in pipeline spec")
            number = known[name]["parameterType"] in ("NUMBER_INTEGER", "NUMBER_DOUBLE")
            if number != isinstance(value, int | float):
                kind = "double or integer" if number else "string"
                raise Refusal(400, f"input parameter {name} requires type {kind}")

    # --- recurring runs

    def list_recurring(self, *, query: dict[str, str], **_: Any) -> Any:
        namespace = self._namespace(query.get("namespace"))
        items = [item for item in self.recurring.values() if not namespace or item.namespace == namespace]
        return self._listed("recurring_runs", "V2beta1ListRecurringRunsResponse", items, query)

    def create_recurring(self, *, body: Any, **_: Any) -> Any:
        recurring = self.read("V2beta1RecurringRun", body)
        recurring.namespace = self._namespace(recurring.namespace) or "kubeflow"
        self._check_start(recurring)
        cron = recurring.trigger.cron_schedule.cron
        if len(cron.split()) not in (5, 6):
            raise Refusal(400, f"Schedule cron is not a supported format. Error: Expected 5 to 6 fields, found {cron}")
        if not 1 <= int(recurring.max_concurrency or 0) <= 10:
            raise Refusal(400, "Max concurrency of a recurring run must be at least 1 and at most 10.")
        recurring.recurring_run_id = str(uuid.uuid4())
        recurring.status = "ENABLED" if recurring.mode == "ENABLE" else "DISABLED"
        self.recurring[recurring.recurring_run_id] = recurring
        return recurring

    def switch(self, recurring_run_id: str, way: str, **_: Any) -> Any:
        recurring = self._recurring(recurring_run_id)
        recurring.mode, recurring.status = way.upper(), f"{way.upper()}D"
        return {}

    def delete_recurring(self, recurring_run_id: str, *, query: dict[str, str], **_: Any) -> Any:
        self._recurring(recurring_run_id)
        self.deletions.append(query)
        del self.recurring[recurring_run_id]
        return {}

    def _recurring(self, recurring_run_id: str) -> Any:
        if recurring_run_id not in self.recurring:
            raise Refusal(404, f"Recurring run {recurring_run_id} not found")
        return self.recurring[recurring_run_id]
