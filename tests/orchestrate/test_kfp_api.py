"""A server that refuses, fails or is another one: one clear message each, and nothing is sent twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sightline import cluster
from sightline.errors import ClusterError, ClusterUsageError, ConfigError
from sightline.orchestrate.kfp_api import Server
from tests.helpers.kfp_stand_in import StandIn

NAME = "/apis/v2beta1/pipelines/names/x"
CREATE = "/apis/v2beta1/pipelines"


def refused(kind: type[Exception], words: str, exit_code: int) -> str:
    """Ask for a pipeline, and return the message of the error, which is one line."""
    with pytest.raises(kind, match=words) as caught:
        Server().pipeline("x")
    assert caught.value.exit_code == exit_code  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "words", "exit_code"),
    [
        (400, "refuses to find the pipeline x: no good\\.", 2),
        (401, "asks for a login: set KFP_TOKEN", 2),
        (403, "You may not find the pipeline x; ask whoever runs .*: no good\\.", 2),
        (409, "Somebody else changes the same", 1),
        (500, "could not find the pipeline x \\(status 500\\): no good\\. Its log says more", 1),
    ],
)
def test_a_refusal_is_one_message_with_the_servers_own_words(
    kfp_server: StandIn, status: int, words: str, exit_code: int
) -> None:
    kfp_server.faults[f"GET {NAME}"] = [(status, "no good")]
    refused(ClusterError, words, exit_code)


def test_reading_is_tried_again_when_the_server_has_too_much_to_do(kfp_server: StandIn) -> None:
    kfp_server.faults[f"GET {NAME}"] = [(429, "slow down"), (503, "starting")]
    assert Server().pipeline("x") is None
    assert kfp_server.requests.count(f"GET {NAME}") == 3


def test_what_creates_is_never_sent_twice(kfp_server: StandIn) -> None:
    kfp_server.faults[f"POST {CREATE}"] = [(429, "slow down"), (429, "slow down")]
    with pytest.raises(ClusterError, match="too much to do; run the same command again later"):
        Server().create_pipeline("x", "")
    assert kfp_server.requests.count(f"POST {CREATE}") == 1


def test_an_expired_token_is_named_by_where_it_came_from(
    kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp_server.token = "good"
    monkeypatch.setenv("KFP_TOKEN", "old-secret")
    assert "old-secret" not in refused(ClusterUsageError, "token of KFP_TOKEN: it is wrong or has expired", 2)
    monkeypatch.delenv("KFP_TOKEN")
    (tmp_path / "token").write_text("good\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    server = Server()
    kfp_server.token = "renewed"  # as Kubernetes does every hour
    (tmp_path / "token").write_text("renewed\n")
    assert server.pipeline("x") is None
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "gone"))
    refused(ClusterUsageError, "The token cannot be read from the file .*gone", 2)


def test_a_server_that_hangs_is_given_up(kfp_server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_KFP_WAIT", "1")
    kfp_server.faults[f"GET {NAME}"] = ["hang"]
    refused(ClusterError, "did not answer for 1 seconds when it was to find the pipeline x", 1)


def test_a_server_that_is_not_there_or_breaks_off(
    kfp_server: StandIn, closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp_server.faults[f"GET {NAME}"] = ["drop"]
    refused(ClusterError, "cannot be reached, to find the pipeline x", 1)
    monkeypatch.setenv("KFP_ENDPOINT", closed_address)
    refused(ClusterError, "cannot be reached, to say who it is: Connection refused", 1)


def test_a_page_of_a_proxy_is_not_taken_for_an_empty_list(kfp_server: StandIn) -> None:
    path = "/apis/v2beta1/recurringruns"
    kfp_server.faults[f"GET {path}"] = ["<html>Log in</html>"]
    with pytest.raises(ClusterUsageError, match="what answers is a page for a browser, perhaps to log in"):
        Server().recurring_runs()


@pytest.mark.parametrize(
    ("tag_name", "words"), [("3.0.1", "is KFP 3.0.1; expected one of KFP 2"), ("1.8.5", "is KFP 1.8.5")]
)
def test_another_major_version_is_refused(kfp_server: StandIn, tag_name: str, words: str) -> None:
    kfp_server.tag_name = tag_name
    refused(ClusterUsageError, words, 2)


def test_what_is_no_server_of_pipelines_is_refused(kfp_server: StandIn) -> None:
    kfp_server.tag_name = None
    refused(ClusterUsageError, "is no Kubeflow Pipelines server", 2)
    kfp_server.tag_name = "unknown"  # a server that was built by hand is taken
    assert Server().pipeline("x") is None
    kfp_server.faults["GET /apis/v2beta1/healthz"] = ["<html><body>Log in</body></html>"]
    refused(ClusterUsageError, "was to say who it is, and what answers is a page for a browser", 2)
    kfp_server.faults["GET /apis/v2beta1/healthz"] = [(302, "")]
    refused(ClusterUsageError, "asks for a login", 2)


def test_a_server_of_several_namespaces_wants_one_that_the_user_may_use(kfp_server: StandIn) -> None:
    with pytest.raises(ConfigError, match=r"cannot be chosen: .* runs everything in one namespace"):
        Server("team-a")
    kfp_server.multi_user = True
    with pytest.raises(ConfigError, match="serves several namespaces: name yours with --namespace"):
        Server()
    with pytest.raises(ClusterUsageError, match="You may not find the pipeline x in the namespace 'team-b'"):
        Server("team-b").pipeline("x")
    server = Server("team-a")
    assert server.create_pipeline("x", "").namespace == "team-a"
    assert server.pipeline("x") is not None


def test_everything_that_is_listed_is_read_page_by_page(kfp_server: StandIn) -> None:
    kfp_server.pages_of = 2
    server = Server()
    ids = {server.experiment(f"experiment {number}") for number in range(5)}
    assert len(ids) == 5
    assert server.experiment("experiment 4") in ids
    assert len(kfp_server.experiments) == 5


def test_settings_that_cannot_be_used_are_refused_before_anything_is_sent(
    kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "two words")
    refused(ClusterUsageError, "KFP_TOKEN holds no token", 2)
    monkeypatch.delenv("KFP_TOKEN")
    monkeypatch.setenv("KFP_ENDPOINT", "http://me:secret@host:8888")
    assert "secret" not in refused(ClusterUsageError, "KFP_ENDPOINT is not an address", 2)
    monkeypatch.delenv("KFP_ENDPOINT")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    refused(ClusterUsageError, "No Kubeflow Pipelines server is named: set KFP_ENDPOINT", 2)
    assert kfp_server.requests == []


def test_kfps_own_settings_of_the_user_count(kfp_server: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "home" / ".config" / "kfp" / "context.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"namespace": "team-a"}))
    kfp_server.multi_user = True
    assert Server().namespace == "team-a"
    path.write_text("{")
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        Server()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [b", "while parsing a flow sequence"),
        ("a: b\0", "special characters are not allowed"),
        ("[]", "list indices must be integers"),
        (
            "{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], "
            "clusters: [{name: c, cluster: {server: 5}}], users: [{name: u, user: {}}]}",
            "'int' object has no attribute",
        ),
    ],
)
def test_a_damaged_kubeconfig_is_the_users_to_correct(
    kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("KFP_ENDPOINT")
    with pytest.raises(ClusterUsageError, match=f"^The kubeconfig cannot be used: .*{words}"):
        cluster.reach()
    refused(ClusterUsageError, f"set KFP_ENDPOINT .*The kubeconfig cannot be used: .*{words}", 2)


def test_a_cluster_is_reached_through_the_kubeconfigs_current_context(
    kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "mine",
        "contexts": [{"name": "mine", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": kfp_server.address}}],
        "users": [{"name": "u", "user": {"token": "good"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.delenv("KFP_ENDPOINT")
    kfp_server.token = "good"
    refused(ClusterUsageError, "services/ml-pipeline:http/proxy is no Kubeflow Pipelines server", 2)
    assert kfp_server.requests[0].endswith("/services/ml-pipeline:http/proxy/apis/v2beta1/healthz")
