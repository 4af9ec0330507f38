"""Train a DCGAN on faces: `python -m gan.train --data hw3_data`.

Deep convolutional generative adversarial networks (Radford et al., ICLR 2016): a generator maps noise to
faces, a discriminator is trained to distinguish them from real faces, and the generator is trained to fool
it. Samples are drawn from, and the released weights are, an exponential moving average (EMA) of the
generator. `--data` may be any folder of images.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from common import adversary, training
from common.batches import Shuffled
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
from gan.models import INPUTS, Discriminator, Generator, noise
from gan.options import PRESETS, Options, chosen, command


def train(options: Options, faces: Tensor, run: Run, device: torch.device, precision: str) -> Generator:
    """Train on `faces`, uint8 (N, 3, size, size) on the device. Returns the generator to release."""
    torch.manual_seed(key(options.seed, "first weights"))
    generator = place(Generator(options.width, options.deviation, options.size), device)
    if options.from_ and run.step == 0:
        load_into(generator, load_tensors(Path(options.from_)), Path(options.from_))
    discriminator = place(Discriminator(options.d_width or options.width, options.deviation, options.size,
                                        options.network == "report"), device)
    averaged = EMA(generator, options.ema)
    g_optimiser, d_optimiser = adversary.adam(generator, options), adversary.adam(discriminator, options)
    parts = {"generator": generator, "discriminator": discriminator, "averaged": averaged.network,
             "g_optimiser": g_optimiser, "d_optimiser": d_optimiser}
    run.restore(parts)
    generator, discriminator = parallel(generator), parallel(discriminator)
    batches = Shuffled(len(faces), options.batch, options.seed, "batches", device)

    for step in run.steps(parts):
        draws, progress = stream(options.seed, "noise and views", step), step / run.total_steps
        adversary.set_rates(options, progress, g_optimiser, d_optimiser)
        index = batches(step)
        real = to_faces(faces[index])
        real = share(flip(real, draws) if options.flip else real)
        z = share(send(torch.randn(len(index), INPUTS, generator=draws), device))

        # D, on separate batches of real and generated faces, because of its BatchNorm
        with autocast(device, precision):
            fake = generator(z)
            d_real, d_fake = discriminator(real), discriminator(fake.detach().float())
            loss = d_loss = adversary.discriminator_loss(d_real, d_fake)
        if options.gamma and step % adversary.PENALTY_EVERY == 0:
            loss = d_loss + adversary.penalty(options, progress, discriminator, real)
        d_optimiser.zero_grad()
        loss.backward()
        d_optimiser.step()

        # G, against the updated D
        discriminator.requires_grad_(False)
        with autocast(device, precision):
            d_fake = discriminator(fake.float())
            g_loss = adversary.generator_loss(d_fake)
        g_optimiser.zero_grad()
        g_loss.backward()
        g_optimiser.step()
        discriminator.requires_grad_(True)
        averaged.update(generator, step)

        if run.log_due(step):
            p_real, p_fake = adversary.discriminator_probabilities(d_real, d_fake)
            run.log(step + 1, len(index), {"D loss": d_loss.item(), "G loss": g_loss.item(), "D(x)": p_real,
                                           "D(G(z))": p_fake})
            if warning := adversary.collapse_warning(p_real, p_fake):
                run.say(f"warning: {warning}")
        if (step + 1) % batches.per_epoch == 0:
            epoch = (step + 1) // batches.per_epoch
            run.try_drawing(show, final_network(averaged.network, 500), options, run, epoch)
    return final_network(averaged.network, 2000)


def final_network(averaged: Generator, count: int) -> Generator:
    """The averaged generator in evaluation mode, with BatchNorm statistics from `count` noise vectors."""
    device = next(averaged.parameters()).device
    return estimate_statistics(averaged, [part.to(device) for part in noise(count, 0).split(100)])


def show(generator: Generator, options: Options, run: Run, epoch: int) -> None:
    """Write samples/epoch_001.png, 64 faces of the same noise in every epoch, and the loss curves."""
    with torch.inference_mode():
        faces = generator(noise(64, options.seed).to(next(generator.parameters()).device))
    make_folder(run.folder / "samples")
    save_picture(run.folder / f"samples/epoch_{epoch:03}.png", grid(to_images(faces), 8))
    draw_losses(run.folder / "losses.png", curve(read_records(run.folder)), "DCGAN")


def main() -> None:
    setting = training.setting(training.arguments("gan.train", __doc__, Options, PRESETS), Options, chosen,
                               adversary.may_grow)
    options, device = setting.options, setting.device
    faces = read_faces(setting.args.data, "train", size=options.size)
    if setting.args.dry_run:
        network = Generator(options.width, size=options.size)
        training.show_plan(training.written(setting, faces.hashes), network, len(faces.images), 0, device)
        return
    training.carry_out(
        setting, name=setting.preset, steps=options.epochs * (len(faces.images) // options.batch),
        data=faces.hashes, command=command(setting.preset, options),
        measure="scripts.evaluate_faces --weights",
        train=lambda run: train(options, faces.images.to(device), run, device, setting.precision))


if __name__ == "__main__":
    run_main(main)
