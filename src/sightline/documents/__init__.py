"""What passes between the stages and what a run ends with: JSON documents of a frozen, documented schema."""

from __future__ import annotations

from sightline.documents.base import (
    SPLITS,
    Document,
    Part,
    Sha256,
    Split,
    Verdict,
    decimals,
    read,
)
from sightline.documents.data import (
    DataDocument,
    Distributions,
    Example,
    Histogram,
    RuleResult,
    SplitComparison,
    SplitCounts,
)
from sightline.documents.evaluate import (
    Backgrounds,
    ClassScores,
    ConfusionMatrix,
    Curves,
    EvaluateDocument,
    PredictionsFile,
    SizeScores,
)
from sightline.documents.export import (
    Curve,
    ExportDocument,
    Parity,
)
from sightline.documents.register import (
    RegisterDocument,
)
from sightline.documents.report import (
    ReportDocument,
)
from sightline.documents.run_folder import (
    Documents,
    load,
)
from sightline.documents.sample import (
    Agreement,
    Chosen,
    GivenPictures,
    Sample,
    SampleDocument,
    UnreadPicture,
)
from sightline.documents.summary import (
    ErrorReport,
    StageOutcome,
    Status,
    SummaryData,
    SummaryDocument,
    SummaryEvaluate,
    SummaryExport,
    SummaryRegister,
    SummaryTrain,
    read_error,
)
from sightline.documents.train import (
    ENDINGS,
    Attempt,
    AttemptSettings,
    BestEpoch,
    Ending,
    Epoch,
    Hardware,
    OptimizerUsed,
    Preflight,
    TrainDocument,
)
from sightline.documents.validate import (
    JudgedStatus,
    Unchanged,
    ValidateDocument,
    Weights,
)
from sightline.documents.weights import (
    Architecture,
    PinnedArchitecture,
    PinnedWeights,
    WeightsReference,
    parse_weights,
)

__all__ = [
    "ENDINGS",
    "SPLITS",
    "Agreement",
    "Architecture",
    "Attempt",
    "AttemptSettings",
    "Backgrounds",
    "BestEpoch",
    "Chosen",
    "ClassScores",
    "ConfusionMatrix",
    "Curve",
    "Curves",
    "DataDocument",
    "Distributions",
    "Document",
    "Documents",
    "Ending",
    "Epoch",
    "ErrorReport",
    "EvaluateDocument",
    "Example",
    "ExportDocument",
    "GivenPictures",
    "Hardware",
    "Histogram",
    "JudgedStatus",
    "OptimizerUsed",
    "Parity",
    "Part",
    "PinnedArchitecture",
    "PinnedWeights",
    "PredictionsFile",
    "Preflight",
    "RegisterDocument",
    "ReportDocument",
    "RuleResult",
    "Sample",
    "SampleDocument",
    "Sha256",
    "SizeScores",
    "Split",
    "SplitComparison",
    "SplitCounts",
    "StageOutcome",
    "Status",
    "SummaryData",
    "SummaryDocument",
    "SummaryEvaluate",
    "SummaryExport",
    "SummaryRegister",
    "SummaryTrain",
    "TrainDocument",
    "Unchanged",
    "UnreadPicture",
    "ValidateDocument",
    "Verdict",
    "Weights",
    "WeightsReference",
    "decimals",
    "load",
    "parse_weights",
    "read",
    "read_error",
]
