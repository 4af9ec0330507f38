"""Augmentation: shapes, ranges and reproducibility; digits are never mirrored."""

import pytest
import torch

from common import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def strong(images, generator):
    """The pipeline with all transformations enabled."""
    return augment.strong(images, generator, zoom=(0.8, 1.2), neighbour_share=0.5, stroke_share=0.5,
                          texture_share=0.5, invert=True)


@pytest.mark.parametrize("images", [torch.rand(8, 3, 28, 28), torch.zeros(4, 3, 28, 28)])
def test_strong_is_reproducible_and_finite(images):
    first = strong(images, generator())
    assert first.shape == images.shape and torch.isfinite(first).all()
    assert torch.equal(first, strong(images, generator()))
    if images.any():
        assert not torch.equal(first, strong(images, generator(1)))


def test_affine_without_range_is_the_identity():
    images = torch.rand(4, 3, 28, 28)
    torch.testing.assert_close(augment.affine(images, 0, (1, 1), 0, 0, generator(), stretch=(0, 0)), images,
                               atol=1e-5, rtol=0)


def test_zoom_enlarges():
    images = torch.zeros(1, 3, 28, 28)
    images[:, :, 10:18, 10:18] = 1
    larger = augment.affine(images, 0, (1.5, 1.5), 0, 0, generator(), stretch=(0, 0))
    assert larger.sum() > 2 * images.sum()


def test_stretch_makes_narrower_and_higher():
    images = torch.zeros(1, 3, 28, 28)
    images[:, :, 8:20, 8:20] = 1
    narrow = augment.affine(images, 0, (1, 1), 0, 0, generator(), stretch=(-0.3, -0.3))[0, 0] > 0.5
    height, width = narrow.any(1).sum(), narrow.any(0).sum()
    assert (height, width) == (16, 8)


def test_no_mirror_image():
    """A digit with more ink on the left keeps it there, on average, under all geometric transformations."""
    images = torch.zeros(400, 3, 28, 28)
    images[:, :, 6:22, 6:12] = 1
    moved = augment.affine(images, 15, (0.8, 1.2), 0.2, 3, generator())
    left, right = moved[..., :14].sum((1, 2, 3)), moved[..., 14:].sum((1, 2, 3))
    assert (left > right).float().mean() > 0.95


def test_neighbours_come_from_other_images_and_leave_the_middle():
    images = torch.arange(50.0).view(50, 1, 1, 1).expand(50, 3, 28, 28)
    out = augment.neighbours(images, 1.0, generator())
    assert torch.equal(out[..., 9:19], images[..., 9:19])
    assert (out[..., 0] != images[..., 0]).float().mean() > 0.9
    assert torch.equal(augment.neighbours(images, 0.0, generator()), images)


def test_inversion_keeps_the_digit():
    """Recolouring maps images with two values to images with two values, so that strokes are preserved."""
    images = torch.zeros(64, 3, 8, 8)
    images[:, :, :, 4:] = 1
    out = augment.recolour(images, True, generator())
    assert torch.allclose(out[..., :4], out[..., :1]) and torch.allclose(out[..., 4:], out[..., 4:5])
    assert 0.2 < (out[:, 0, 0, 0] > out[:, 0, 0, 7]).float().mean() < 0.8


def test_without_inversion_dark_stays_dark():
    images = torch.zeros(2000, 3, 4, 4)
    images[:, :, :, 2:] = 1
    out = augment.recolour(images, False, generator())
    # with a total near zero, a channel may become constant
    assert (out[..., 0] < out[..., 3]).float().mean() > 0.995
    assert not torch.equal(out, images)


def test_stroke_gets_thicker_or_thinner():
    images = torch.zeros(200, 3, 28, 28)
    images[:, :, 8:20, 12:16] = 1
    size = augment.stroke(images, 1.0, generator()).sum((1, 2, 3))
    before = images[0].sum()
    assert (size > before).any() and (size < before).any() and (size != before).all()


def test_cutout_hides_one_square():
    out = augment.cutout(torch.ones(20, 3, 28, 28), 8, 1.0, generator())
    assert ((out == 0.5).sum((1, 2, 3)) == 3 * 64).all()


def test_texture_changes_sign_under_the_stroke():
    """|image - texture|: the stroke becomes dark where the texture is bright, and vice versa."""
    images = torch.zeros(200, 3, 28, 28)
    images[:, :, 4:24, 12:16] = 1
    out = augment.texture(images, 1.0, generator())
    darker = out[:, 0, 14, 13] < out[:, 0, 14, 8]
    assert 0.2 < darker.float().mean() < 0.8
    assert torch.equal(augment.texture(images, 0.0, generator()), images)


def test_hard_contrast_sharpens_soft_strokes_by_random_amounts():
    images = torch.linspace(0.4, 0.6, 28).expand(200, 3, 28, 28)
    out = augment.hard_contrast(images, generator())
    assert ((out.amin((1, 2, 3)) == 0).all() and (out.amax((1, 2, 3)) == 1).all()
            and (out.diff(dim=3) >= 0).all())
    between = ((out > 0) & (out < 1)).float().mean((1, 2, 3))
    assert between.min() < 0.1 and between.max() > 0.3
    # nothing to amplify
    assert augment.hard_contrast(torch.full((9, 3, 28, 28), 0.3), generator()).std() < 1e-6


def test_texture_has_hard_edges_where_the_image_has_soft_ones():
    images = torch.linspace(0, 1, 28).expand(200, 3, 28, 28)
    edges = augment.texture(images, 1.0, generator()).diff(dim=3).abs().amax((1, 2, 3))
    assert edges.median() > 0.2  # 0.1 without hard contrast


def test_shift_moves_whole_images_by_whole_pixels():
    images = torch.rand(200, 3, 28, 28)
    moved = augment.shift(images, 2, generator())
    seen = set()
    for image, out in zip(images, moved, strict=True):
        fits = [(y, x) for y in range(-2, 3) for x in range(-2, 3)
                if torch.equal(out[:, 2:-2, 2:-2], image[:, 2 + y:26 + y, 2 + x:26 + x])]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 25 and torch.equal(augment.shift(images, 0, generator()), images)
