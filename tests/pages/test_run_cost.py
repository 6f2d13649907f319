"""The part of the page that shows what a run on a cluster took."""

from __future__ import annotations

from sightline.pages import run_cost
from sightline.report import took
from tests.helpers.argo_workflow import Attempt, Made


def table(made: Made) -> run_cost.Table:
    found = took.of(made.workflow, made.pods)
    assert found
    return run_cost.table(found)


def test_pods_lie_along_the_run_with_their_waiting_first() -> None:
    made = Made().task("validate", Attempt(0, 0, 100)).task("train", Attempt(100, 300, 500), Attempt(500, 500, 1000))
    validate, train = table(made).rows
    assert validate.lanes == [run_cost.Lane(0, 0, 10, True)]
    assert train.lanes == [run_cost.Lane(10, 20, 20, True), run_cost.Lane(50, 0, 50, True)]
    assert (train.took, train.waited, train.gpu_time) == ("15 min 00 s", "3 min 20 s", "–")


def test_what_is_known_of_some_pods_is_a_least_and_of_none_is_not_known() -> None:
    made = Made().task("export", Attempt(0, None, 5))
    made.task("train", Attempt(10, 40, 100), Attempt(110, None, 170, ran=50), gpus=2).task("register")
    found = table(made)
    export, register, train = found.rows
    assert (export.waited, train.waited, register.waited, found.waited) == (
        "not known", "at least 30 s", "–", "at least 30 s",
    )  # fmt: skip
    assert [lane.known for lane in train.lanes] == [True, False]
    assert (register.took, train.gpu_time) == ("from the cache", "3 min 40 s")
    assert found.sentence == (
        "It took 2 min 50 s; its 3 pods waited at least 30 s for nodes, and 0.061 GPU hours were asked for."
    )
    assert found.unknown


def test_a_run_without_gpus_says_so() -> None:
    found = table(Made().task("validate", Attempt(0, 3, 13)))
    assert found.sentence == "It took 13 s; its 1 pod waited 3 s for nodes, and no GPU was asked for."
    assert not found.unknown
