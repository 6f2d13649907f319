"""Reads the documents of all stages of one run from their folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline.config import RunConfig
from sightline.documents.base import AnyDocument, read
from sightline.documents.data import DataDocument
from sightline.documents.evaluate import EvaluateDocument
from sightline.documents.export import ExportDocument
from sightline.documents.register import RegisterDocument
from sightline.documents.report import ReportDocument
from sightline.documents.sample import SampleDocument
from sightline.documents.train import TrainDocument
from sightline.documents.validate import ValidateDocument


@dataclass(frozen=True)
class Documents:
    """What the stages of a run wrote; None where a stage was not reached."""

    validate: ValidateDocument | None
    data: DataDocument | None
    train: TrainDocument | None
    export: ExportDocument | None
    evaluate: EvaluateDocument | None
    sample: SampleDocument | None
    report: ReportDocument | None
    register: RegisterDocument | None

    @property
    def config(self) -> RunConfig | None:
        """The configuration as it was used: what training used last, over what validate resolved."""
        if self.validate is None:
            return None
        if self.train is None:
            return self.validate.config
        return self.validate.config.model_copy(update={"train": self.train.config})

    @property
    def untracked(self) -> bool:
        """Whether the run was reported while tracking was switched off, so that no registration follows."""
        return self.report is not None and self.report.run_id is None

    def outdated(self) -> dict[str, str]:
        """Say of each stage whose document was made from another one than there is now what differs.

        A stage that is repeated leaves the documents of those behind it, which no longer hold.
        """
        problems: dict[str, str] = {}

        def compare(stage: str, what: str, made: str | None, now: str | None, source: str) -> None:
            if made != now:
                problems.setdefault(stage, f"{what} {made}, but {source} has {now}")

        if self.validate:
            snapshot = self.validate.snapshot
            for stage, document in (("train", self.train), ("export", self.export), ("evaluate", self.evaluate)):
                if document:
                    compare(stage, "was made from the snapshot", document.snapshot, snapshot, "validate.json")
        if self.train and self.export:
            checkpoint = self.train.checkpoint_sha256
            compare("export", "was made from the checkpoint", self.export.checkpoint_sha256, checkpoint, "train.json")
        if self.export:
            for name, judged in (("evaluate", self.evaluate), ("sample", self.sample), ("register", self.register)):
                if judged:
                    compare(name, "is of the file of sha256", judged.onnx_sha256, self.export.sha256, "export.json")
        if self.evaluate and self.sample:
            compare(
                "sample",
                "is of the file of sha256",
                self.sample.onnx_sha256,
                self.evaluate.onnx_sha256,
                "evaluate.json",
            )
            if agreement := self.sample.agreement:
                now = self.evaluate.predictions.sha256 if self.evaluate.predictions else None
                made = agreement.predictions_sha256
                compare("sample", "was compared with the predictions of sha256", made, now, "evaluate.json")
        return problems


def load(folders: Mapping[str, Path]) -> Documents:
    """Read every document that is there; `folders` maps a stage's name to its folder.

    Raises StageInputError for a document that does not fit its schema.
    """

    def find(kind: type[AnyDocument]) -> AnyDocument | None:
        folder = folders.get("validate" if kind is DataDocument else kind.file_name().removesuffix(".json"))
        return read(kind, folder) if folder and (folder / kind.file_name()).exists() else None

    return Documents(
        validate=find(ValidateDocument),
        data=find(DataDocument),
        train=find(TrainDocument),
        export=find(ExportDocument),
        evaluate=find(EvaluateDocument),
        sample=find(SampleDocument),
        report=find(ReportDocument),
        register=find(RegisterDocument),
    )
