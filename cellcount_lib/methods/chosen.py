"""The cutoff of a trained network: what its run chose on validation pictures, or would have."""

from pathlib import Path

from cellcount_lib.data.reading import read_all
from cellcount_lib.inference.evaluation import ScaledProtocol
from cellcount_lib.inference.heatmaps import load_heatmaps
from cellcount_lib.records import RECORD, read_record
from cellcount_lib.scoring.cutoff import Choice
from cellcount_lib.training.data import FullSize


def chosen(run: Path, parts: FullSize, scaled: ScaledProtocol) -> Choice:
    """Return the choice of the cutoff under a protocol, from the heatmaps that a run has kept.

    `parts` are the pictures of the run, whose folder is `run`. If it was scored under this protocol
    itself, its record has the choice; a sweep takes minutes.
    """
    record = read_record(run / RECORD)
    known = record.identity["data"], record.protocol, record.protocol_scale
    if known == (parts.fingerprint, scaled.protocol.name, scaled.scale):
        assert record.cutoff is not None
        return Choice(record.cutoff, **record.choice)
    labels = {s.meta["name"]: s.labels for s in read_all(parts.val)}
    return scaled.choose_cutoff(load_heatmaps(run / "heatmaps-val.npz"), labels)[0]
