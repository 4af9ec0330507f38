"""Batched, label-preserving augmentation of small digits.

Every function takes and returns images as float tensors (N, 3, H, W) in [0, 1], on any device. All random
numbers come from the given CPU generator (see `common.streams`). `strong` is the pipeline that training uses.
Images are never mirrored, since a mirrored 2 is not a digit.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from common.streams import send


def uniform(n: int, low: float, high: float, images: Tensor, generator: torch.Generator) -> Tensor:
    """(n,) values from U(low, high) on the images' device."""
    return send(torch.rand(n, generator=generator) * (high - low) + low, images.device)


def normal(images: Tensor, *shape: int, generator: torch.Generator) -> Tensor:
    """Values from N(0, 1) in that shape, on the images' device."""
    return send(torch.randn(shape, generator=generator), images.device)


def permutation(images: Tensor, generator: torch.Generator) -> Tensor:
    """(N,) indices of the batch in a random order, on the images' device."""
    return send(torch.randperm(len(images), generator=generator), images.device)


def chance(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """(N, 1, 1, 1) bool, True with probability p: the images of the batch to which a change is applied."""
    return uniform(len(images), 0, 1, images, generator).view(-1, 1, 1, 1) < p


def share(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """(round(p·N),) indices of a random subset of the batch, for changes too costly for all images."""
    return permutation(images, generator)[:round(p * len(images))]


def neighbours(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Parts of other digits of the batch at the left and right edge, as in photographs of house numbers.
    (Without them, neighbouring digits, which SVHN has and MNIST-M does not, could reveal the domain.)"""
    n, channels, height, width = images.shape
    columns = torch.arange(width, device=images.device).expand(n, -1)
    out = images
    for side in (-1, 1):
        edge = uniform(n, 2, 0.3 * width, images, generator).long()[:, None]
        # the distance to the neighbour is half an image or a little more
        shift = uniform(n, 0.5 * width, 0.7 * width, images, generator).long()[:, None]
        other = images[permutation(images, generator)]
        mask = columns < edge if side < 0 else columns >= width - edge
        moved = (columns - side * shift).clamp(0, width - 1)[:, None, None].expand(n, channels, height, width)
        mask = mask[:, None, None] & chance(images, p, generator)
        out = torch.where(mask, other.gather(3, moved), out)
    return out


def stroke(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Grey-scale dilation or erosion (3x3) of a fraction p of the images: thicker or thinner strokes."""
    index, out = share(images, p, generator), images.clone()
    half = len(index) // 2
    for extreme, part in ((torch.maximum, index[:half]), (torch.minimum, index[half:])):
        # shifted slices, rows before columns, are several times faster than max_pool2d on the CPU
        wide = F.pad(images[part], (1, 1, 1, 1), mode="replicate")
        rows = extreme(extreme(wide[..., :-2], wide[..., 1:-1]), wide[..., 2:])
        out[part] = extreme(extreme(rows[..., :-2, :], rows[..., 1:-1, :]), rows[..., 2:, :])
    return out


def affine(images: Tensor, degrees: float, zoom: tuple[float, float], shear: float, shift: float,
           generator: torch.Generator, stretch: tuple[float, float] = (-0.1, 0.1)) -> Tensor:
    """Random affine transformation: rotation by up to `degrees`, zoom in the given range (> 1 enlarges the
    digit), horizontal shear of up to `shear`, and shift of up to `shift` pixels. The aspect ratio (width to
    height) is multiplied by exp(2 U(*stretch)). Border pixels are replicated."""
    n, _, height, width = images.shape
    angle = uniform(n, -degrees, degrees, images, generator) * math.pi / 180
    log_zoom = uniform(n, math.log(zoom[0]), math.log(zoom[1]), images, generator)
    ratio = uniform(n, *stretch, images, generator)
    # the matrix maps output to input positions, so a zoom is a division
    x_scale, y_scale = torch.exp(-log_zoom - ratio), torch.exp(-log_zoom + ratio)
    skew = uniform(n, -shear, shear, images, generator)
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack([
        torch.stack([cos * x_scale, (skew * cos - sin) * y_scale,
                     uniform(n, -2, 2, images, generator) * shift / width], 1),
        torch.stack([sin * x_scale, (skew * sin + cos) * y_scale,
                     uniform(n, -2, 2, images, generator) * shift / width], 1),
    ], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    # clamp to the outermost pixels' centres, like padding_mode="border", which MPS lacks before torch 2.13
    for axis, pixels in enumerate((width, height)):
        grid[..., axis].clamp_(1 / pixels - 1, 1 - 1 / pixels)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def recolour(images: Tensor, invert: bool, generator: torch.Generator) -> Tensor:
    """Random linear mixing of the channels, and inversion of all channels or of single ones. Colour and
    polarity do not determine the digit, but account for most of the gap between these domains. Without
    `invert`, dark stays dark."""
    n = len(images)
    change = normal(images, n, 3, 3, generator=generator) * chance(images, 0.5, generator).view(-1, 1, 1)
    mixing = torch.eye(3, device=images.device) + 0.4 * change
    total = mixing.sum(2, keepdim=True)
    mixing = mixing / total.abs().clamp(min=0.5)
    if not invert:  # a negative total would invert the channel too
        return torch.einsum("nij,njhw->nihw", mixing * total.sign(), images)
    images = torch.einsum("nij,njhw->nihw", mixing, images)
    all_channels = chance(images, 0.5, generator)
    single = uniform(3 * n, 0, 1, images, generator).view(n, 3, 1, 1) < 0.25
    return torch.where(all_channels ^ single, 1 - images, images)


def hard_contrast(images: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast stretched to [0, 1] and then raised by a random factor between 2 and 30, which makes some
    images almost binary: photographed digits have soft edges, and MNIST-M's digits have hard ones. A digit
    with very little contrast can be lost."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    # the minimum keeps the noise of nearly flat images from being amplified
    stretched = (images - low) / (high - low).clamp(min=0.05)
    factor = uniform(len(images), 2, 30, images, generator).view(-1, 1, 1, 1)
    return (0.5 + factor * (stretched - 0.5)).clamp(0, 1)


def texture(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """|image - texture| on a fraction p of the images, after `hard_contrast`: a background that is inverted
    under the strokes. The texture is smooth coloured noise of random contrast in three octaves."""
    index, out = share(images, p, generator), images.clone()
    n, (height, width) = len(index), images.shape[2:]
    if n == 0:
        return out
    octaves = images.new_zeros(n, 3, height, width)
    for cells, weight in ((3, 1.0), (8, 0.6), (16, 0.4)):
        coarse = normal(images, n, 3, cells, cells, generator=generator)
        grey = normal(images, n, 1, cells, cells, generator=generator)
        octaves += weight * F.interpolate(0.5 * coarse + grey, (height, width), mode="bilinear")
    level = uniform(3 * n, 0, 1, images, generator).view(n, 3, 1, 1)
    clutter = (level + uniform(n, 0, 0.25, images, generator).view(-1, 1, 1, 1) * octaves).clamp(0, 1)
    out[index] = (hard_contrast(images[index], generator) - clutter).abs()
    return out


def blur(images: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """3x3 mean filter on a fraction p of the images."""
    index, out = share(images, p, generator), images.clone()
    out[index] = F.avg_pool2d(images[index], 3, 1, 1, count_include_pad=False)
    return out


def noise(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise. Its standard deviation is drawn per image from U(0, most), relative to the image's
    contrast: house numbers often have so little contrast that a fixed level would hide the digit."""
    level = (uniform(len(images), 0, most, images, generator).view(-1, 1, 1, 1)
             * images.std((1, 2, 3), keepdim=True))
    return images + level * normal(images, *images.shape, generator=generator)


def cutout(images: Tensor, size: int, p: float, generator: torch.Generator) -> Tensor:
    """Cutout (DeVries & Taylor 2017): a grey square of size x size pixels at a random position, on a fraction
    p of the images."""
    n, _, height, width = images.shape
    top = uniform(n, 0, height - size + 1, images, generator).long().view(-1, 1, 1, 1)
    left = uniform(n, 0, width - size + 1, images, generator).long().view(-1, 1, 1, 1)
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + size) & (columns >= left) & (columns < left + size)
    return torch.where(inside & chance(images, p, generator), 0.5, images)


def strong(images: Tensor, generator: torch.Generator, *, zoom: tuple[float, float], invert: bool,
           stretch: tuple[float, float] = (-0.1, 0.1), neighbour_share: float = 0, stroke_share: float = 0,
           texture_share: float = 0) -> Tensor:
    """The whole pipeline. The arguments are what differs between the directions: the ranges of zoom and
    aspect ratio, whether colours are inverted, and the fractions of images with neighbours, with a changed
    stroke width and with a texture."""
    if neighbour_share:
        images = neighbours(images, neighbour_share, generator)
    if stroke_share:
        images = stroke(images, stroke_share, generator)
    images = affine(images, 15, zoom, 0.2, 3, generator, stretch)
    if texture_share:
        images = texture(images, texture_share, generator)
    images = blur(recolour(images, invert, generator), 0.3, generator)
    return cutout(noise(images, 0.3, generator), 8, 0.5, generator)


def mild(images: Tensor, generator: torch.Generator) -> Tensor:
    """Small rotations, zooms and shifts only, for networks trained and tested in one domain."""
    return affine(images, 10, (0.9, 1.1), 0.1, 2, generator)


def shift(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `most` whole pixels along each axis, replicating the border: a weak
    augmentation, on which the predictions of a teacher are reliable."""
    n, (height, width) = len(images), images.shape[2:]
    moves = send(torch.randint(-most, most + 1, (2, n, 1), generator=generator), images.device)
    rows = (torch.arange(height, device=images.device) + moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + moves[1]).clamp(0, width - 1)
    batch = torch.arange(n, device=images.device)[:, None, None]
    # with a slice between them, advanced indices come first in the result
    return images[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
