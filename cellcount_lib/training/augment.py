"""Augmentation of a batch on its device: one warp for image, mask and weights, then light, noise.

Rotation, flips, zoom and elastic deformation are composed into one field of positions and every
pixel is sampled once: the image and the weight map between pixels, the mask at the nearest pixel.
That warp is written by hand. Fastai composes affine transforms the same way but knows no elastic
one; Kornia has both, as two samplings after a 63-pixel convolution, which costs a third of a
training step on two cores. Blur is Kornia's.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cellcount_lib.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """How far a crop may be changed; every amount is drawn anew for every crop."""

    rotate: float = 0.0  # largest rotation in degrees, either way
    quarter_turns: bool = False  # turn by a random multiple of 90 degrees
    flip: bool = False  # mirror half of the crops
    zoom: float = 0.0  # enlarge or shrink by up to this share
    # largest displacement as a share of the crop's side, drawn on a 5x5 grid and smooth in between
    elastic: float = 0.0
    # by which brightness (an offset, as a share of the full range) and contrast (a factor) change
    light: float = 0.0
    noise: float = 0.0  # largest sd of Gaussian noise, as a share of the full range
    blur: float = 0.0  # largest sd of a Gaussian blur in pixels
    grey: float = 0.0  # share of the crops without colour: the brightest of the three channels
    share: float = 0.5  # of crops that light, contrast, noise, blur and elastic each apply to
    affine_share: float = 1.0  # the same of rotation and zoom

    def __post_init__(self) -> None:
        limits = {"rotate": 180, "zoom": 0.9, "elastic": 0.5, "blur": 10}
        for name, value in vars(self).items():
            most = limits.get(name, 1)
            if not 0 <= value <= most:
                raise InputError(f"{name}: expected a number from 0 to {most}, found {value!r}")

    def margin(self, side: int) -> int:
        """Return the surroundings in pixels that the warp of a crop can reach into."""
        angle = math.radians(min(self.rotate, 45.0))
        reach = (math.cos(angle) + math.sin(angle)) / (1 - self.zoom) + 2 * self.elastic
        return math.ceil((reach - 1) * side / 2)

    def __call__(
        self, pixels: Tensor, weights: Tensor | None, side: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Augment crops: pixels uint8 (N, 4, S, S), with a margin, and weights float16, or None.

        The generator is one of the CPU: the same numbers on every device. Returns image float32
        (N, 3, side, side) in [0, 1], channels last; mask uint8 (N, 1, side, side); and weights.
        """
        image, mask, weights = self.warp(pixels, weights, side, rng)
        image = self.develop(image, rng)
        return image.contiguous(memory_format=torch.channels_last), mask, weights

    def warp(
        self, pixels: Tensor, weights: Tensor | None, side: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Apply the geometry; see `__call__`."""
        if not (self.rotate or self.zoom or self.elastic):
            return self._turn(pixels, weights, side, rng)
        field = self.positions(len(pixels), pixels.shape[-1], side, rng).to(pixels.device)
        # Image and weights in one bilinear pass, the mask in a pass of its own.
        smooth = pixels[:, :3].float() / 255
        if weights is not None:
            smooth = torch.cat([smooth, weights.float()], dim=1)
        smooth = _sample(smooth, field, "bilinear")
        mask = _sample(pixels[:, 3:].float(), field, "nearest").to(torch.uint8)
        return smooth[:, :3], mask, None if weights is None else smooth[:, 3:]

    def _turn(
        self, pixels: Tensor, weights: Tensor | None, side: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Flips and quarter turns alone keep pixels whole: no sampling."""
        edge = (pixels.shape[-1] - side) // 2
        turns, flips = self._turns_and_flips(len(pixels), rng)
        together = pixels if weights is None else torch.cat([pixels.float(), weights.float()], 1)
        together = together[..., edge : edge + side, edge : edge + side]
        crops = []
        for crop, turn, flip in zip(together, turns.tolist(), flips.tolist(), strict=True):
            crop = torch.rot90(crop, turn, (1, 2))
            crops.append(crop.flip(2) if flip else crop)
        turned = torch.stack(crops)
        return (
            turned[:, :3].float() / 255,
            turned[:, 3:4].to(torch.uint8),
            None if weights is None else turned[:, 4:],
        )

    def _turns_and_flips(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        turns = torch.randint(4, (n,), generator=rng) * self.quarter_turns
        flips = torch.randint(2, (n,), generator=rng).bool() & self.flip
        return turns, flips

    def positions(self, n: int, inside: int, side: int, rng: torch.Generator) -> Tensor:
        """Return where each new pixel is taken from, (N, side, side, 2), x before y.

        In the units of `torch.nn.functional.grid_sample` with ``align_corners=False``: the outer
        edges of the `inside` pixels are -1 and 1.
        """
        turns, flips = self._turns_and_flips(n, rng)
        turned, zoomed = (_even(n, rng) * _some(n, self.affine_share, rng) for _ in range(2))
        angle = torch.deg2rad(self.rotate * turned) + turns * (math.pi / 2)
        size = 1 / (1 + self.zoom * zoomed)
        cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
        mirror = torch.where(flips, -1.0, 1.0)
        # Rows of the inverse map: a new pixel (x, y) comes from matrix @ (x, y), about the centre.
        matrix = torch.stack([cos * mirror, -sin, sin * mirror, cos], dim=1).view(n, 2, 2)
        steps = (torch.arange(side) - (side - 1) / 2) * (2 / inside)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        field = torch.einsum("nij,hwj->nhwi", matrix, torch.stack([x, y], dim=-1))
        if self.elastic:
            knots = 2 * torch.rand((n, 2, 5, 5), generator=rng) - 1
            knots = knots * _some(n, self.share, rng).view(n, 1, 1, 1)
            bend = F.interpolate(knots, (side, side), mode="bicubic", align_corners=True)
            bend = bend.clamp_(-1, 1) * (self.elastic * side * 2 / inside)
            field = field + bend.permute(0, 2, 3, 1)
        return field

    def develop(self, image: Tensor, rng: torch.Generator) -> Tensor:
        """Change colour and light, blur, and add noise: values stay in [0, 1]."""
        n = len(image)

        def per_crop(values: Tensor) -> Tensor:
            return values.view(n, 1, 1, 1).to(image.device)

        if self.grey:
            grey = per_crop(_some(n, self.grey, rng)) > 0
            image = torch.where(grey, image.amax(dim=1, keepdim=True), image)
        if self.light:
            offset, change = (
                per_crop(self.light * _even(n, rng) * _some(n, self.share, rng)) for _ in range(2)
            )
            image = image * (1 + change) + offset
        if self.blur:
            image = self._blurred(image, rng)
        if self.noise:
            level = self.noise * torch.rand(n, generator=rng) * _some(n, self.share, rng)
            seed = int(torch.randint(2**62, (1,), generator=rng))
            local = torch.Generator(image.device).manual_seed(seed)
            grain = torch.randn(image.shape, generator=local, device=image.device)
            image = image + grain * per_crop(level)
        return image.clamp(0, 1) if self.light or self.noise else image

    def _blurred(self, image: Tensor, rng: torch.Generator) -> Tensor:
        from kornia.filters import gaussian_blur2d

        n = len(image)
        chosen = _some(n, self.share, rng) > 0
        sigma = 0.1 + self.blur * torch.rand((n, 1), generator=rng)
        if not chosen.any():
            return image
        radius = math.ceil(3 * self.blur)
        image = image.clone()
        where = chosen.to(image.device)
        spread = sigma[chosen].expand(-1, 2).to(image.device)
        image[where] = gaussian_blur2d(image[where], 2 * radius + 1, spread)
        return image


def _some(n: int, share: float, rng: torch.Generator) -> Tensor:
    """Draw 1 for this share of n crops, 0 for the others."""
    return (torch.rand(n, generator=rng) < share).float()


def _even(n: int, rng: torch.Generator) -> Tensor:
    """Draw n numbers evenly from -1 to 1."""
    return 2 * torch.rand(n, generator=rng) - 1


def _sample(values: Tensor, field: Tensor, mode: str) -> Tensor:
    return F.grid_sample(values, field, mode=mode, padding_mode="reflection", align_corners=False)
