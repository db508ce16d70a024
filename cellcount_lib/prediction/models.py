"""What counts: a model that comes with the project or that of a file, Otsu, or what suits best."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cellcount_lib.errors import InputError
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.info import DEFAULT, names, shipped
from cellcount_lib.inference.network import Network, Prediction, predict
from cellcount_lib.postprocess.otsu import otsu_mask, otsu_watershed
from cellcount_lib.scoring.protocols import CELL_PX
from cellcount_lib.scoring.protocols import protocol as named

AUTO, OTSU = "auto", "otsu-watershed"
SEPARATED = 0.70

Counter = Callable[..., Prediction]
"""Called with a picture, `pixel_size_um`, `cell_px`, `threshold`, `protocol` as `predict` is."""


class Model(NamedTuple):
    """What a person may count with."""

    name: str  # with the first digits of the SHA-256 of its weights: what decides its results
    apply: Counter
    cell_px: float | None = None  # width of the cells that a network was trained on


def known() -> list[str]:
    """Return the names that `--model` takes beside files."""
    return [AUTO, *names(), OTSU]


def open_models(
    name: str, *, device: str | None = None, precision: str = "auto", at_once: int = 1
) -> list[Model]:
    """Open a model by name or path; "auto" opens all that ship, the first the one for doubt.

    ONNX Runtime runs networks, on the processor. Torch runs safetensors files, and any network that
    a `device` or a `precision` is asked for. `at_once` pictures will share this machine.
    """
    if name == OTSU:
        return [Model(OTSU, otsu)]
    if name == AUTO:
        network = _open(DEFAULT, device=device, precision=precision, at_once=at_once)
        return [network, Model(OTSU, otsu)]
    return [_open(name, device=device, precision=precision, at_once=at_once)]


def choose(models: Sequence[Model], image: NDArray[np.uint8]) -> Model:
    """Return the model that suits a picture: the first, or Otsu where it `suits_otsu`."""
    return models[-1] if len(models) > 1 and suits_otsu(image) else models[0]


def suits_otsu(image: NDArray[np.uint8]) -> bool:
    """Tell whether a threshold parts a picture well: it is grey, and the two classes lie apart.

    The classes hold at least 70% of the variance between them; of noise it is 2 / pi. On such
    pictures Otsu is better than the network for neurons or as good: F1 0.585 against 0.489 on 37
    validation pictures of BBBC038, 0.650 and 0.651 on 12 of S-BSST265. On simulated neurons, which
    have colours, it is 0.282 against 0.743 (`python -m benchmarks.counting`).

    Examples
    --------
    >>> y, x = np.ogrid[:90, :90]
    >>> grey = (40 + 100 * ((y - 45) ** 2 + (x - 45) ** 2 < 400)).astype(np.uint8)
    >>> picture = grey[..., None].repeat(3, axis=2)
    >>> suits_otsu(picture), suits_otsu(picture * np.uint8([1, 1, 0]))
    (True, False)
    """
    if (image != image[..., :1]).any():
        return False
    mask = otsu_mask(image)
    if not mask.any():
        return False
    grey = gaussian_filter(image[..., 0].astype(np.float32), 2)
    inside, share = grey[mask], mask.mean()
    between = share * (1 - share) * (inside.mean() - grey[~mask].mean()) ** 2
    return bool(between >= SEPARATED * grey.var())


def _open(name: str, *, device: str | None, precision: str, at_once: int) -> Model:
    torch_asked = device is not None or precision != "auto"
    path = shipped(name, ".safetensors" if torch_asked else ".onnx")
    network: Network
    if path.suffix == ".safetensors":
        from cellcount_lib.inference.model_file import load_model, tensor_digest
        from cellcount_lib.inference.predict import choose_device, choose_precision

        choose_precision(choose_device(device), precision)
        network = load_model(path, device=device, precision=precision)
        weights = tensor_digest(network.model.state_dict())[:12]
    elif torch_asked:
        raise InputError(
            f"{path} runs on the processor in fp32; --device and --precision need the safetensors "
            "file of the model"
        )
    else:
        network = load_onnx(path, at_once=at_once)
        weights = network.weights
    return Model(f"{Path(name).stem} {weights}", partial(predict, network), network.info.cell_px)


def otsu(
    image: NDArray[np.uint8],
    *,
    pixel_size_um: float | None = None,
    cell_px: float | None = None,
    threshold: float | None = None,
    protocol: str | None = None,
) -> Prediction:
    """Find cells by Otsu's threshold and the watershed, called as `predict` is.

    It knows no pixel size and no cutoff.
    """
    ruler = named(protocol or "recommended")
    scale = (cell_px or CELL_PX) / CELL_PX
    labels = ruler.pred_objects(otsu_watershed(image, ruler.postprocess, scale=scale))
    return Prediction(None, labels, None, ruler.name, 1.0)
