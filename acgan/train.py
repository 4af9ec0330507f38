"""Train an ACGAN on faces with one attribute: `python -m acgan.train --attribute Smiling --data hw3_data`.

Auxiliary-classifier generative adversarial networks (Odena et al., ICML 2017): the generator takes a class in
addition to the noise, and the discriminator has a second head that predicts the class of a face. The two
faces of one noise vector, one per class, are called a pair. `--data` may be any folder of images with a CSV
of attributes beside it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from acgan.losses import class_accuracy, class_loss, pair_loss
from acgan.models import NOISE, Discriminator, Generator, noise
from acgan.options import PRESETS, Options, chosen, columns, command
from common import adversary, training
from common.batches import Balanced, Shuffled
from common.cli import run_main
from common.device import autocast, place
from common.ema import EMA, estimate_statistics
from common.faces import flip, read_faces, to_faces, to_images
from common.figures import curve, draw_losses, grid, save_picture
from common.files import make_folder
from common.processes import parallel, share
from common.runs import Run, read_records
from common.streams import key, send, stream
from common.weights import load_into, load_tensors


def train(options: Options, faces: Tensor, attributes: Tensor, run: Run, device: torch.device,
          precision: str) -> Generator:
    """Train on `faces`, uint8 (N, 3, size, size), and `attributes`, int64 (N, K), on the device. The first
    attribute is the class. Balanced batches contain all combinations of the first two attributes equally
    often. Returns the generator to release."""
    torch.manual_seed(key(options.seed, "first weights"))
    report = options.network == "report"
    generator = place(Generator(options.width, options.deviation, options.size, late=not report), device)
    if options.from_ and run.step == 0:
        load_into(generator, load_tensors(Path(options.from_)), Path(options.from_))
    discriminator = place(Discriminator(options.d_width or options.width, attributes.shape[1],
                                        options.deviation, options.size, report), device)
    averaged = EMA(generator, options.ema)
    g_optimiser, d_optimiser = adversary.adam(generator, options), adversary.adam(discriminator, options)
    parts = {"generator": generator, "discriminator": discriminator, "averaged": averaged.network,
             "g_optimiser": g_optimiser, "d_optimiser": d_optimiser}
    run.restore(parts)
    generator, discriminator = parallel(generator), parallel(discriminator)
    # the class and one more attribute, since combinations of three or more include very rare ones
    balanced = attributes[:, :2]
    combination = (balanced << torch.arange(balanced.shape[1], device=device)).sum(1)
    batches = (Balanced(combination, options.batch, options.seed, "batches") if options.balanced
               else Shuffled(len(faces), options.batch, options.seed, "batches", device))
    per_epoch = len(faces) // options.batch

    for step in run.steps(parts):
        draws, progress = stream(options.seed, "noise and views", step), step / run.total_steps
        adversary.set_rates(options, progress, g_optimiser, d_optimiser)
        index = batches(step)
        real, real_attributes = to_faces(faces[index]), share(attributes[index])
        real = share(flip(real, draws) if options.flip else real)
        z, c = noise_and_classes(options, len(index), real_attributes[:, 0], draws)

        # D maximises L_S + L_C, on separate batches of real and generated faces, because of its BatchNorm
        with autocast(device, precision):
            fake = generator(z, c)
            d_real, named_real = discriminator(real)
            d_fake, named_fake = discriminator(fake.detach().float())
            d_loss = adversary.discriminator_loss(d_real, d_fake)
            d_class = class_loss(named_real, real_attributes)
            if options.class_on_fake:
                d_class = d_class + class_loss(named_fake[:, 0], c)
        loss = d_loss + d_class
        if options.gamma and step % adversary.PENALTY_EVERY == 0:
            loss = loss + adversary.penalty(options, progress, lambda faces: discriminator(faces)[0], real)
        d_optimiser.zero_grad()
        loss.backward()
        d_optimiser.step()

        # G maximises L_C - L_S, against the updated D
        discriminator.requires_grad_(False)
        with autocast(device, precision):
            d_fake, named_fake = discriminator(fake.float())
            g_loss, g_class = adversary.generator_loss(d_fake), class_loss(named_fake[:, 0], c)
        loss = g_loss + options.class_weight * g_class
        if options.pair_weight:
            loss = loss + options.pair_weight * pair_loss(fake)
            if attributes.shape[1] > 1:
                loss = loss + options.keep_weight * pair_loss(named_fake[:, 1:])
        g_optimiser.zero_grad()
        loss.backward()
        g_optimiser.step()
        discriminator.requires_grad_(True)
        averaged.update(generator, step)

        if run.log_due(step):
            p_real, p_fake = adversary.discriminator_probabilities(d_real, d_fake)
            run.log(step + 1, len(index), {
                "D loss": d_loss.item(), "G loss": g_loss.item(), "D(x)": p_real, "D(G(z))": p_fake,
                "class": g_class.item(),
                "named real": 100 * class_accuracy(named_real[:, 0], real_attributes[:, 0]),
                "named fake": 100 * class_accuracy(named_fake[:, 0], c)})
            if warning := adversary.collapse_warning(p_real, p_fake):
                run.say(f"warning: {warning}")
        if (step + 1) % per_epoch == 0:
            run.try_drawing(show, final_network(averaged.network, 500), options, run, (step + 1) // per_epoch)
    return final_network(averaged.network, 2000)


def noise_and_classes(options: Options, count: int, real: Tensor,
                      draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise (N, 100) and classes (N,) for the generated faces of a step; N is this process's share of
    `count`. `real` are the classes of the real faces. With a pair loss, each noise vector gets both classes,
    so that they are as frequent as among the balanced real faces. Otherwise the classes are those of the real
    faces, so that class frequencies do not distinguish real from generated faces."""
    if options.pair_weight:
        z = share(send(torch.randn(count // 2, NOISE, generator=draws), real.device))
        return z.repeat(2, 1), torch.arange(2, device=real.device).repeat_interleave(len(z))
    return share(send(torch.randn(count, NOISE, generator=draws), real.device)), real


class _WithBothClasses(torch.nn.Module):
    """For `estimate_statistics`: a generator that takes noise only and alternates between the classes."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor) -> Tensor:
        return self.generator(z, torch.arange(len(z), device=z.device) % 2)


def final_network(averaged: Generator, count: int) -> Generator:
    """The averaged generator in evaluation mode, with BatchNorm statistics estimated on `count` noise
    vectors, half of them with each class."""
    device = next(averaged.parameters()).device
    batches = [part.to(device) for part in noise(count, 0).split(100)]
    return estimate_statistics(_WithBothClasses(averaged), batches).generator


def pairs(generator: Generator, z: Tensor, strength: float) -> Tensor:
    """z (N, 100) → uint8 (2, N, 3, size, size): faces with the attribute, and faces of the same noise without
    it. The class values are 0.5 ± strength / 2: 1 and 0 at strength 1; a higher strength compensates for the
    small change that training with a pair loss yields."""
    return torch.stack([with_class(generator, z, 0.5 + sign * strength / 2) for sign in (1, -1)])


def with_class(generator: Generator, z: Tensor, value: float) -> Tensor:
    """z (N, 100) → uint8 (N, 3, H, W) on the CPU, with the same class value for all faces."""
    device = next(generator.parameters()).device
    with torch.inference_mode():
        return torch.cat([
            to_images(generator(part.to(device), torch.full((len(part),), value, device=device))).cpu()
            for part in z.split(50)])


def show(generator: Generator, options: Options, run: Run, epoch: int) -> None:
    """Write samples/epoch_001.png, 10 pairs of the same noise in every epoch, and the loss curves."""
    make_folder(run.folder / "samples")
    picture = grid(pairs(generator, noise(10, options.seed), options.strength).flatten(0, 1), 10)
    save_picture(run.folder / f"samples/epoch_{epoch:03}.png", picture)
    draw_losses(run.folder / "losses.png", curve(read_records(run.folder)), "ACGAN")


def main() -> None:
    setting = training.setting(training.arguments("acgan.train", __doc__, Options, PRESETS), Options, chosen,
                               adversary.may_grow)
    options, device = setting.options, setting.device
    faces = read_faces(setting.args.data, "train", columns(options), options.size)
    if setting.args.dry_run:
        network = Generator(options.width, size=options.size)
        training.show_plan(training.written(setting, faces.hashes), network, len(faces.images), 0, device)
        return
    training.carry_out(
        setting, name=f"{options.attribute}-{setting.preset}",
        steps=options.epochs * (len(faces.images) // options.batch),
        data=faces.hashes, command=command(setting.preset, options),
        measure="scripts.evaluate_faces --weights",
        train=lambda run: train(options, faces.images.to(device), faces.attributes.to(device), run, device,
                                setting.precision))


if __name__ == "__main__":
    run_main(main)
