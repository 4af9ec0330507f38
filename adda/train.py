"""Train ADDA, or ADDA and then self-training: `python -m adda.train --source mnistm --target svhn --data hw3_data`.

Adversarial discriminative domain adaptation (Tzeng et al., CVPR 2017) in two stages: encoder and classifier learn the labelled
source; then a target encoder, started from the source's, learns to make features that a discriminator takes for the source's,
while source encoder and classifier stay as they are. `--method adda+st` goes on from there: a teacher, the average of its
student, names the classes of target images, and the student learns those that the teacher is sure of on strongly varied views.
No label of the target is read here or in anything called from here.
"""

from __future__ import annotations

import copy
import dataclasses

import torch

from adda import losses
from adda.models import Adapted, Classifier, Discriminator, build
from adda.options import PRESETS, Options, check, chosen, command
from common import training
from common.augment import shift
from common.batches import Balanced, Shuffled
from common.classify import accuracy
from common.cli import run_main
from common.device import autocast, choose_device, choose_precision, seed_step
from common.domains import Data
from common.ema import EMA, estimate_statistics
from common.losses import class_loss, imbalance
from common.runs import Run
from common.schedules import ramp, warm_cosine
from common.views import plain, plain_batches, source_view, source_views, target_view
from common.weights import load_state, save_state, save_tensors

CHECKPOINT_EVERY = 1000  # steps of self-training


def train(options: Options, data: Data, run: Run, device: torch.device, precision: str) -> Adapted:
    """The method, stage by stage. Returns the networks to be released."""
    torch.manual_seed(options.seed)
    network, discriminator = build(options.network, options.width, options.conditional, options.normalise)
    source = train_source(network.to(device), options, data, run, device, precision)
    adapted = adapt(source, discriminator.to(device), options, data, run, device, precision)
    if options.method == "adda":
        return adapted
    return self_train(adapted, options, data, run, device, precision)


def train_source(network: Classifier, options: Options, data: Data, run: Run, device: torch.device, precision: str) -> Classifier:
    """Stage 1 (equation 1): M_s and C on labelled source images, varied. Returns them averaged, in evaluation mode."""
    end = options.source_steps
    if run.first_step > end:
        load_state(run.state, source=network)
        return network.eval()
    generator = torch.Generator(device)
    averaged = EMA(network, options.ema)
    optimiser = torch.optim.Adam(network.parameters(), options.lr, fused=True)
    parts = {"network": network, "averaged": averaged.network, "optimiser": optimiser}
    load_state(run.state, **parts)
    batches = source_batches(options, data, options.batch)

    for step in run.steps(lambda: save_state(**parts), end):
        seed_step(generator, options.seed, step)
        set_rate(optimiser, options, step, step / end)
        network.train()
        index = batches(step).to(device)
        with autocast(device, precision):
            loss = class_loss(network(source_view(data.images[index], options, generator)), data.labels[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        averaged.update(network, step)

        if run.log_due(step):
            views = source_views(data.images[:2000], options, options.seed)
            held_out = accuracy(with_statistics(averaged.network, views, options), data.held_images, data.held_labels)
            run.log(step + 1, len(index), {"class loss": loss.item(), "held-out": held_out})
    # its statistics are those of varied images, which is what it is shown in stage 2
    return with_statistics(averaged.network, source_views(data.images[:10_000], options, options.seed), options)


def adapt(source: Classifier, discriminator: Discriminator, options: Options, data: Data, run: Run, device: torch.device,
          precision: str) -> Adapted:
    """Stage 2 (equation 9): M_t, started from M_s, against D, both with the inverted-label loss; M_s and C stay frozen, their
    BatchNorm statistics too."""
    begin, end = options.source_steps, options.source_steps + options.adversarial_steps
    source.requires_grad_(False).eval()
    target = copy.deepcopy(source)
    if run.first_step > end:
        load_state(run.state, target=target)
        return Adapted(source, target.eval())
    generator = torch.Generator(device)
    averaged = EMA(target, options.ema)
    target.encoder.requires_grad_(True)
    encoder_optimiser = torch.optim.Adam(target.encoder.parameters(), options.encoder_lr, (0.5, 0.9), fused=True)
    discriminator_optimiser = torch.optim.Adam(discriminator.parameters(), options.discriminator_lr, (0.5, 0.9), fused=True)
    parts = {"source": source, "target": target, "averaged": averaged.network, "discriminator": discriminator,
             "encoder_optimiser": encoder_optimiser, "discriminator_optimiser": discriminator_optimiser}
    load_state(run.state_after(begin), **parts)
    batches, unlabelled_batches = source_batches(options, data, options.batch), target_batches(options, data)

    for step in run.steps(lambda: save_state(**parts), end):
        seed_step(generator, options.seed, step)
        target.encoder.train()
        source_images = source_view(data.images[batches(step).to(device)], options, generator)
        target_images = target_view(data.unlabelled[unlabelled_batches(step).to(device)], options, generator)
        with autocast(device, precision):
            source_features = source.features(source_images)
            source_logits = source.classifier(source_features)
            target_features = target.features(target_images)
            target_logits = target.classifier(target_features)
            # both domains in one batch: BatchNorm over one domain alone would hide what tells it from the other
            d_source, d_target = discriminator(torch.cat([source_features, target_features.detach()]),
                                               torch.cat([source_logits, target_logits])).split(len(source_images))
            discriminator_loss = losses.discriminator_loss(d_source, d_target)
        discriminator_optimiser.zero_grad()
        discriminator_loss.backward()
        discriminator_optimiser.step()

        with autocast(device, precision):
            encoder_loss = losses.encoder_loss(discriminator(target_features, target_logits))
        encoder_optimiser.zero_grad()
        encoder_loss.backward()
        encoder_optimiser.step()
        averaged.update(target, step - begin)

        if run.log_due(step):
            run.log(step + 1, 2 * len(source_images), {
                "discriminator loss": discriminator_loss.item(), "encoder loss": encoder_loss.item(),
                "domain": 100 * losses.domain_accuracy(d_source, d_target).item()})
    return Adapted(source, with_statistics(averaged.network, plain_batches(data.unlabelled[:10_000]), options))


def self_train(adapted: Adapted, options: Options, data: Data, run: Run, device: torch.device, precision: str) -> Adapted:
    """Stage 3: the student starts from M_t and C, and its average is the teacher (Tarvainen & Valpola 2017; French et al. 2018).
    Each step shows it labelled source images and unlabelled target images, in separate forward passes, so that BatchNorm sees
    one domain at a time."""
    begin = options.source_steps + options.adversarial_steps
    generator = torch.Generator(device)
    student = copy.deepcopy(adapted.target).requires_grad_(True)
    teacher = EMA(student, options.ema)
    optimiser = torch.optim.Adam(student.parameters(), options.lr, fused=True)
    parts = {"student": student, "teacher": teacher.network, "optimiser": optimiser, "source": adapted.source,
             "target": adapted.target}
    load_state(run.state_after(begin), **parts)
    batches, unlabelled_batches = source_batches(options, data, options.source_batch), target_batches(options, data)

    for step in run.steps(lambda: save_state(**parts)):
        seed_step(generator, options.seed, step)
        progress = (step - begin) / options.self_training_steps
        target_weight = ramp(progress, options.ramp)
        set_rate(optimiser, options, step - begin, progress)
        student.train()
        teacher.network.train()  # with its batch's own statistics: the student's alternate between the domains
        index, images = batches(step).to(device), data.unlabelled[unlabelled_batches(step).to(device)]
        with torch.no_grad(), autocast(device, precision):
            teacher_logits = teacher.network(shift(plain(images), 2, generator))
        with autocast(device, precision):
            source_logits = student(source_view(data.images[index], options, generator))
            target_logits = student(target_view(images, options, generator))
            sure = losses.confident(teacher_logits, source_logits, options.threshold)
            source_loss = class_loss(source_logits, data.labels[index])
            target_loss = losses.self_training_loss(target_logits, teacher_logits, sure)
            # its guess, that the target's classes are equally frequent, gives way to the classes that the teacher names
            balance = options.balance * (1 - target_weight if options.fade else 1)
            loss = source_loss + target_weight * target_loss + balance * imbalance(target_logits)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        # counted from the run's first step: this teacher has nothing random to forget
        teacher.update(student, step)

        done = step + 1 - begin
        checkpoint = done % CHECKPOINT_EVERY == 0 or done == options.self_training_steps
        if run.log_due(step) or checkpoint:
            metrics = {"class loss": source_loss.item(), "target loss": target_loss.item(),
                       "sure": 100 * sure.float().mean().item()}
            if checkpoint:
                metrics |= keep_checkpoint(teacher.network, options, data, run, done)
            run.log(step + 1, len(index) + len(images), metrics)
            if checkpoint and (warning := losses.locked_in(metrics, done / options.self_training_steps)):
                run.say(f"warning: {warning}")
    return both_domains(teacher.network, options, data, 10_000)


def both_domains(network: Classifier, options: Options, data: Data, count: int) -> Adapted:
    """One network with the statistics of each domain's plain images."""
    return Adapted(with_statistics(network, plain_batches(data.images[:count]), options),
                   with_statistics(network, plain_batches(data.unlabelled[:count]), options))


def keep_checkpoint(teacher: Classifier, options: Options, data: Data, run: Run, done: int) -> dict[str, float]:
    """Save the teacher as it would be released after `done` steps of self-training; return what can be said of it without any
    label of the target."""
    adapted = both_domains(teacher, options, data, 2000)
    (run.folder / "checkpoints").mkdir(exist_ok=True)
    save_tensors(run.folder / "checkpoints" / f"{done:06}.safetensors", adapted)
    with torch.inference_mode():
        logits = torch.cat([adapted.target(batch) for batch in plain_batches(data.unlabelled[:2000])])
    return {"held-out": accuracy(adapted.source, data.held_images, data.held_labels), **losses.monitors(logits, options.threshold)}


def with_statistics(network: Classifier, batches: list[torch.Tensor], options: Options) -> Classifier:
    """A copy in evaluation mode, its BatchNorm statistics from those batches (N, 3, H, W) in [0, 1]; no label is involved."""
    return estimate_statistics(network, batches) if options.adabn else copy.deepcopy(network).eval()


def source_batches(options: Options, data: Data, batch: int) -> Balanced | Shuffled:
    """Which labelled images make up the batch of a step."""
    return Balanced(data.labels, batch, options.seed) if options.balanced else Shuffled(len(data.labels), batch, options.seed)


def target_batches(options: Options, data: Data) -> Shuffled:
    """Which unlabelled images do."""
    return Shuffled(len(data.unlabelled), options.batch, options.seed + 1)


def set_rate(optimiser: torch.optim.Optimizer, options: Options, step: int, progress: float) -> None:
    """The learning rate of a stage's step."""
    for group in optimiser.param_groups:
        group["lr"] = warm_cosine(options.lr, step, progress) if options.cosine else options.lr


def main() -> None:
    args = training.arguments("adda.train", __doc__, Options, PRESETS).parse_args()
    options = training.resumed(args, Options()) if args.resume else chosen(args)
    check(options)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    data = Data(args.data, options.source, options.target, options.held_out, device)
    if options.epochs:
        steps = options.epochs * max(1, len(data.images) // options.batch)
        options = dataclasses.replace(options, source_steps=steps, adversarial_steps=steps)

    written = {"preset": args.preset, "precision": precision, **dataclasses.asdict(options)}
    if args.dry_run:
        network, _ = build(options.network, options.width, options.conditional, options.normalise)
        training.show_plan(written, network, len(data.images), len(data.held_images), device)
        return
    total = options.source_steps + options.adversarial_steps + options.self_training_steps
    card = {"command": command(args.preset, options), "data": data.hashes,
            "selection": "the last step of a fixed schedule" + (", averaged weights (EMA)" if options.ema else "")}
    training.carry_out("adda.train", "adda.evaluate --weights", f"{options.method}-{options.source}-{options.target}", args,
                       written, total, card, device, lambda run: train(options, data, run, device, precision))


if __name__ == "__main__":
    run_main(main)
