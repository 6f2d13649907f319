"""A run trains unless it would only repeat an earlier one; and it says which one, or what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.documents import PinnedWeights, ValidateDocument
from sightline.policy import Policy
from sightline.retrain import Decision, decide, remember
from sightline.snapshots import Published, publish
from sightline.snapshots.manifest import manifest_path
from sightline.storage import Store, open_store
from sightline.tracking import server
from tests.helpers.judged import MODEL, ended, validated
from tests.helpers.memory import CAT, DOG, MemoryDataset, filled

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

DRIFTED = {"retrain.when": "drifted"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store")


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an embedded tracking database, the same for all tests here: it takes seconds to make."""
    uri = f"sqlite:///{tmp_path_factory.getbasetemp()}/retrain.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def again(store: Store, document: ValidateDocument, **summary: Any) -> Decision:
    """Let a run end, and decide about the same once more."""
    remember(document, ended("r1", **summary), store)
    return decide(document, store)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("registered", "run night (r1), registered as version 3"),
        ("accepted", "run night (r1), accepted"),
        ("rejected", "run night (r1), rejected"),
    ],
)
def test_the_same_data_settings_and_code_as_in_the_newest_run_with_a_verdict_are_not_trained_again(
    store: Store, status: str, shown: str
) -> None:
    why, unchanged = again(store, validated(), status=status, name="night")
    assert unchanged
    assert (unchanged.run_id, unchanged.status) == ("r1", status)
    assert why == f"Nothing was trained: {shown}, still stands. Data, settings and code are the same."
    noted = Decision(why, unchanged).noted(validated())
    assert (noted.unchanged, noted.trains_because) == (unchanged, None)


@pytest.mark.parametrize("status", ["failed", "unchanged", None])
def test_a_run_without_a_verdict_spares_no_training(store: Store, status: str | None) -> None:
    why, unchanged = again(store, validated(), status=status)
    assert unchanged is None
    assert why == f"This run trains: no run of model '{MODEL}' has come to a verdict in {store.uri} yet."
    assert Decision(why, None).noted(validated()).trains_because == why


WEIGHTS = validated().weights
OTHER = PinnedWeights(uri="s3://elsewhere/mine.pt", sha256="ab" * 32)
MOVED = PinnedWeights(uri="s3://elsewhere/mine.pt", sha256=str(WEIGHTS.sha256))


@pytest.mark.parametrize(
    ("settings", "update", "words"),
    [
        ({"train.epochs": 7}, {}, "train.epochs (was 20, is 7)"),
        ({"gate.min_map50": None, "train.seed": 1}, {}, "train.seed (was 0, is 1) and gate.min_map50 (was 0.8,"),
        ({}, {"digest": "6e" * 32}, "the data"),
        ({}, {"weights": WEIGHTS.model_copy(update={"reference": OTHER})}, "the starting weights"),
        ({}, {"train_code": "d0" * 32, "infer_code": "d1" * 32}, "the code that trains and the code that evaluates"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("when", ["changed", "drifted"])
def test_what_changed_is_named(
    store: Store, closed_address: str, monkeypatch: pytest.MonkeyPatch,
    when: str, settings: dict[str, Any], update: dict[str, Any], words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    remember(validated(), ended("r1"), store)
    why, unchanged = decide(validated(settings={"retrain.when": when, **settings}).model_copy(update=update), store)
    assert unchanged is None
    assert why
    if when == "drifted" and words == "the data":
        words = "the registry cannot say what the version at the alias saw: No MLflow server answers"
    else:
        words = f"This run trains: since run r1, registered as version 3, {words}"
    assert words in why


def test_what_cannot_change_the_result_does_not_count(store: Store) -> None:
    remember(validated(), ended("r1"), store)
    settings = {
        "retrain.max_drift": 0.5,
        "data.policy": Policy(base="lenient"),
        "weights.trust": True,
        "weights.source": "mine.pt",
    }
    moved = {"weights": WEIGHTS.model_copy(update={"source": "mine.pt", "reference": MOVED})}
    document = validated(settings=settings).model_copy(update={"source": "/elsewhere", **moved})
    assert decide(document, store).unchanged
    assert decide(document.model_copy(update={"config": document.config.model_copy(update={"preset": "x"})}), store)[1]


def test_always_asks_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert decide(validated(settings={"retrain.when": "always"}), open_store(f"{tmp_path}/file")) == (None, None)


def test_what_cannot_be_read_is_a_reason_to_train(store: Store) -> None:
    remember(validated(), ended("r1"), store)
    ((key, _),) = store.list()
    store.put_bytes(key, b'{"schema_version": 2}')
    why, unchanged = decide(validated(), store)
    assert unchanged is None
    assert why == (
        f"This run trains: what earlier runs came to cannot be read: {store.uri}/{key} is damaged or of another "
        "version."
    )


# --- drifted


def register(uri: str, model: str, tags: dict[str, str]) -> None:
    """Register a version of a model at the alias, with the tags that Sightline gives it, or others."""
    with server.client(uri) as mlflow:
        mlflow.create_registered_model(model)
        version = mlflow.create_model_version(model, "mlflow-artifacts:/model", tags=tags)
        mlflow.set_registered_model_alias(model, "candidate", version.version)


def run(published: Published, model: str, **settings: Any) -> ValidateDocument:
    return validated(published, {**DRIFTED, "register.model_name": model, **settings})


def grown(folder: Path, more: int, *labels: Any) -> MemoryDataset:
    dataset = filled(folder, 50)
    for number in range(more):
        dataset.put("train", f"new{number}.png", labels or ((CAT, DOG)[number % 2],))
    return dataset


def test_data_that_looks_like_that_of_the_version_at_the_alias_spares_the_training(
    store: Store, database: str, tmp_path: Path
) -> None:
    first = publish(filled(tmp_path / "first", 50), store)
    remember(run(first, "m1"), ended("older"), store)
    never = publish(grown(tmp_path / "never", 3), store)
    why, unchanged = decide(run(never, "m1"), store)
    assert unchanged is None
    assert why == "This run trains: the data has changed, and model 'm1' has no version at 'candidate' yet."

    register(database, "m1", {"sightline.snapshot": first.digest, "sightline.run_id": "older"})
    remember(run(publish(grown(tmp_path / "bad", 2, DOG), store), "m1"), ended("newer", "rejected"), store)
    why, unchanged = decide(run(never, "m1"), store)
    assert unchanged
    assert (unchanged.run_id, unchanged.status, unchanged.version) == ("older", "registered", "1")
    assert why
    assert why.startswith("Nothing was trained: run older, registered as version 1, still stands. The data has")
    assert "but the largest distance is " in why
    assert "in train 0.0" in why
    assert why.endswith("(retrain.max_drift is 0.1); settings and code are the same.")

    far = publish(grown(tmp_path / "far", 30, (0, 0.5, 0.5, 0.9, 0.9)), store)
    why, unchanged = decide(run(far, "m1"), store)
    assert unchanged is None
    assert why
    drifted = "This run trains: the data has drifted from that of version 1 at 'candidate' (retrain.max_drift is 0.1): "
    assert why.startswith(f"{drifted}box sizes in train 0.43, classes in train ")
    assert decide(run(far, "m1", **{"retrain.max_drift": 0.9}), store).unchanged
    assert decide(run(never, "m1", **{"train.epochs": 3}), store).unchanged is None


def test_a_version_that_cannot_be_compared_with_is_a_reason_to_train(
    store: Store, database: str, tmp_path: Path
) -> None:
    first, second = (publish(grown(tmp_path / f"{n}", n), store) for n in (0, 3))
    for model, tags in {
        "m2": {"sightline.snapshot": first.digest, "sightline.run_id": "older"},
        "m3": {"made": "by hand"},
    }.items():
        remember(run(first, model), ended("older"), store)
        register(database, model, tags)
    why, unchanged = decide(run(second, "m3"), store)
    assert unchanged is None
    assert why
    assert "version 1 at 'candidate' does not say what it saw: Sightline did not register it." in why
    assert decide(run(second, "m2"), store).unchanged
    store.delete([manifest_path(first.digest)])
    why, unchanged = decide(run(second, "m2"), store)
    assert unchanged is None
    assert why
    assert "the data has changed, and cannot be compared with that of version 1 at 'candidate': " in why
    assert why.endswith(f"{first.uri}/manifest.json does not exist.")
