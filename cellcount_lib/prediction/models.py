"""What counts: a model that comes with the project or that of a file, Otsu, or what suits best."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.data.sample import brightness
from cellcount_lib.data.stretch import HIGH_PERCENTILE, LOW_PERCENTILE
from cellcount_lib.errors import InputError
from cellcount_lib.inference.engine import load_onnx
from cellcount_lib.inference.info import names, shipped
from cellcount_lib.inference.network import Network, Prediction, budget, predict
from cellcount_lib.postprocess.otsu import otsu_watershed
from cellcount_lib.scoring.protocols import CELL_PX
from cellcount_lib.scoring.protocols import protocol as named

AUTO, NUCLEI, NEURONS, OTSU = "auto", "nuclei-flows", "neurons", "otsu-watershed"
CHOSEN_FROM = (NUCLEI, NEURONS)  # by "auto"
WARM = 2.0  # times as much red as blue: a dye of neurons
YELLOW = (1.0, 0.82, 0.07)  # colour of the neurons' dye, the brightest channel as 1
GREEN = (0.5, 1.0)  # parts of the red that the green of a yellow picture has

Counter = Callable[..., Prediction]
"""Called with a picture, `pixel_size_um`, `cell_px`, `threshold`, `protocol` as `predict` is."""


class Model(NamedTuple):
    """What a person may count with."""

    name: str  # with the first digits of the SHA-256 of its weights: what decides its results
    apply: Counter
    cell_px: float | None = None  # width of the cells that a network was trained on
    measures: bool = True  # whether the width of a picture's cells may be estimated
    pixel_size_um: float | None = None  # of the pictures that a network was trained on, if known

    @property
    def title(self) -> str:
        """Its name without the digits."""
        return self.name.split()[0]


def known() -> list[str]:
    """Return the names that `--model` takes beside files."""
    return [AUTO, *names(), OTSU]


def open_models(
    name: str, *, device: str | None = None, precision: str = "auto", at_once: int = 1
) -> list[Model]:
    """Open a model by name or path; "auto" opens those of which each picture has what suits it.

    ONNX Runtime runs networks, on the processor. Torch runs safetensors files, and any network that
    a `device` or a `precision` is asked for. `at_once` pictures will share this machine.
    """
    if name == OTSU:
        if device is not None or precision != "auto":
            raise InputError(
                f"{OTSU} is no network: expected no --device and no --precision beside it"
            )
        return [Model(OTSU, otsu)]
    opened = CHOSEN_FROM if name == AUTO else (name,)
    return [_open(one, device=device, precision=precision, at_once=at_once) for one in opened]


def choose(models: Sequence[Model], image: NDArray[np.uint8]) -> Model:
    """Return the model that suits a picture: the last where it is `of_neurons`, else the first."""
    return models[-1] if of_neurons(image) else models[0]


def spreads(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far the 1st and 99.8th percentiles of red, green and blue lie apart."""
    low, high = np.percentile(image.reshape(-1, 3), (LOW_PERCENTILE, HIGH_PERCENTILE), axis=0)
    return np.asarray(high - low)


def of_neurons(image: NDArray[np.uint8]) -> bool:
    """Tell whether a picture is yellow or red: its red varies twice as much as its blue.

    Neurons are marked by such dyes (Fluorescent Neuronal Cells); nuclei are stained blue, and most
    cameras give grey.

    Examples
    --------
    >>> grey = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) // 3 * 3
    >>> [of_neurons(grey * np.uint8(dye)) for dye in ([1, 1, 1], [1, 1, 0], [0, 0, 1])]
    [False, True, False]
    """
    red, _, blue = spreads(image)
    return bool(red > WARM * blue)


def in_yellow(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Show a picture in the colour of the dye that the neurons' model knows, unless it has it.

    Examples
    --------
    >>> in_yellow(np.full((1, 1, 3), 100, np.uint8)).tolist()
    [[[100, 82, 7]]]
    """
    red, green, _ = spreads(image)
    if of_neurons(image) and GREEN[0] * red <= green <= GREEN[1] * red:
        return image
    return np.rint(brightness(image)[..., None] * np.array(YELLOW)).astype(np.uint8)


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
    neurons, info = name == NEURONS, network.info
    ask = partial(_sharing, at_once) if path.suffix == ".safetensors" else predict
    return Model(
        f"{Path(name).stem} {weights}",
        partial(_yellow, ask, network) if neurons else partial(ask, network),
        info.cell_px,
        measures=not neurons,
        pixel_size_um=info.pixel_size_um,
    )


def _yellow(ask: Counter, network: Network, image: NDArray[np.uint8], **options: Any) -> Prediction:
    return ask(network, in_yellow(image), **options)


def _sharing(
    at_once: int, network: Network, image: NDArray[np.uint8], **options: Any
) -> Prediction:
    """Predict by torch, in the share of the free memory that each of `at_once` pictures may take.

    Too little memory is a MemoryError, as it is elsewhere; torch raises a RuntimeError.
    """
    try:
        return predict(network, image, memory_mb=budget(None) / at_once / 1e6, **options)
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise MemoryError(f"not enough memory ({error})") from error


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
