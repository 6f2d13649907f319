"""What a run on a cluster took: every attempt counts, and what is not known is no zero."""

from __future__ import annotations

from sightline.documents.cost import Cost, TaskCost
from sightline.report import took
from tests.helpers.argo_workflow import Attempt, Made, at


def of(made: Made, *, forgotten: bool = False, nodes: int = 1) -> Cost:
    found = took.of(made.workflow, {} if forgotten else made.pods, nodes=nodes)
    assert found
    return found


def task(found: Cost, name: str) -> TaskCost:
    (one,) = [each for each in found.tasks if each.name == name]
    return one


def sums(one: TaskCost | Cost) -> tuple[float | None, float | None, float | None]:
    return one.seconds, one.waiting_seconds, one.gpu_seconds


def test_every_attempt_counts_and_gpus_only_while_a_node_holds_them() -> None:
    made = Made().task("validate", Attempt(10, 10, 40))
    made.task("train", Attempt(60, 160, 260, "Failed"), Attempt(270, 275, 1275), gpus=2)
    made.task("export", Attempt(1300, 1301, 1310))
    found = of(made)
    train = task(found, "train")
    assert (train.attempts, train.gpus) == (2, 2)
    assert sums(train) == (1215, 105, 2 * (100 + 1000))
    assert sums(task(found, "validate")) == (30, 0, 0)
    assert sums(found) == (1310, 106, 2200)
    assert found.gpu_hours == 2200 / 3600
    assert (found.started_at, found.finished_at) == ("2026-11-28T02:00:00+00:00", "2026-11-28T02:21:50+00:00")


def test_gpus_of_all_nodes_that_train_together_count_and_those_of_other_tasks_once() -> None:
    made = Made().task("train", Attempt(0, 10, 110), gpus=4).task("export", Attempt(120, 120, 130), gpus=1)
    found = of(made, nodes=3)
    assert [(each.gpus, each.gpu_seconds) for each in found.tasks] == [(12, 1200), (1, 10)]


def test_how_long_a_pod_waited_that_kubernetes_forgot_is_not_known() -> None:
    made = Made().task("train", Attempt(0, None, 500, "Failed", ran=300), Attempt(510, 530, 630), gpus=2)
    train = task(of(made), "train")
    assert [pod.waiting_seconds for pod in train.pods] == [None, 20]
    assert sums(train) == (630, 20, 2 * (300 + 100))
    known = of(made, forgotten=True)
    assert (known.waiting_seconds, known.unknown_waiting) == (None, 2)
    assert known.gpu_seconds == 2 * (300 + 120), "what Argo saw of the container, else the whole time of the pod"


def test_a_pod_that_no_node_ever_took_waited_all_its_time_and_held_nothing() -> None:
    made = Made().task("train", Attempt(5, None, 605, "Failed", node=""), gpus=8)
    assert sums(task(of(made), "train")) == (600, 600, 0)


def test_a_cached_task_took_nothing_and_conclude_which_goes_on_is_left_out() -> None:
    made = Made().task("train").task("export", Attempt(20, 20, 30)).task("conclude", Attempt(40, 41, None, "Running"))
    found = of(made)
    assert [each.name for each in found.tasks] == ["train", "export"]
    assert (task(found, "train").attempts, *sums(task(found, "train"))) == (0, None, None, None)
    assert found.seconds == 30


def test_a_pod_that_goes_on_has_no_end_and_no_sum_pretends_one() -> None:
    made = Made().task("train", Attempt(0, 10, None, "Running"), gpus=1)
    train = task(of(made), "train")
    assert sums(train) == (None, 10, None)
    assert of(made).seconds is None


def test_an_empty_workflow_costs_nothing_known() -> None:
    assert took.of({}, {}) is None
    assert took.of(Made().workflow, {}) is None


def test_a_later_look_keeps_what_kubernetes_has_forgotten_since() -> None:
    made = Made().task("train", Attempt(0, 60, 160), gpus=1).task("export", Attempt(170, 171, 180))
    before = of(made)
    assert took.joined(before, of(made, forgotten=True)) == before
    assert took.joined(of(made, forgotten=True), before) == before
    assert took.joined(before, None) == took.joined(None, before) == before
    assert took.joined(None, None) is None


def test_a_run_that_was_finished_too_early_gets_its_ends_later_and_keeps_what_it_knew_of_waiting() -> None:
    going = of(Made().task("train", Attempt(0, 60, None, "Running"), gpus=1))
    assert sums(task(going, "train")) == (None, 60, None)
    ended = Made().task("train", Attempt(0, None, 160, ran=90), gpus=1)
    found = took.joined(going, of(ended))
    assert found
    assert sums(task(found, "train")) == (160, 60, 100)
    assert took.joined(found, going) == found


def test_what_failed_before_retry_was_chosen_in_the_dashboard_counts_on() -> None:
    before = of(Made().task("validate", Attempt(0, 0, 20)).task("train", Attempt(30, 40, 140, "Failed"), gpus=1))
    retried = Made().task("validate", Attempt(0, 0, 20)).task("train", Attempt(1000, 1100, 1300), gpus=1)
    retried.task("export", Attempt(1310, 1310, 1320))
    found = took.joined(before, of(retried))
    assert found
    assert sums(task(found, "train")) == (1270, 110, 300)
    assert (task(found, "train").attempts, task(found, "validate").attempts) == (2, 1)
    assert sums(found) == (1320, 110, 300)


def test_a_pod_of_the_same_name_that_a_retry_made_since_is_not_taken_for_the_old_one() -> None:
    made = Made().task("train", Attempt(0, None, 100, ran=90), gpus=1)
    other = Made().task("train", Attempt(0, 500, 600), gpus=1)
    (pod,) = other.pods.values()
    assert pod["status"]["conditions"][0]["lastTransitionTime"] == at(500)
    found = took.of(made.workflow, other.pods)
    assert found
    assert found.waiting_seconds is None
