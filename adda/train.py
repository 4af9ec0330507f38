"""Train ADDA, with or without self-training: `python -m adda.train --data hw3_data`.

Adversarial discriminative domain adaptation (Tzeng et al., CVPR 2017) has two stages. Encoder and classifier
learn the labelled source. Then a target encoder, started from the source's, learns to make features that a
discriminator takes for the source's, while source encoder and classifier stay as they are. `--method adda+st`
adds self-training: a teacher, the average of its student, names the classes of target images, and the student
learns those of which the teacher is confident, on strongly augmented images. No label of the target is read
here or in anything called from here.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from adda import losses
from adda.models import Adapted, ClassFrequencies, Classifier, Discriminator, build
from adda.options import PRESETS, Options, chosen, command
from common import training
from common.augment import shift
from common.batches import Balanced, Shuffled
from common.classify import accuracy
from common.cli import run_main
from common.criteria import criteria
from common.device import autocast
from common.domains import Data, name
from common.ema import EMA, estimate_statistics
from common.files import make_folder
from common.losses import class_loss, domain_accuracy, domain_loss, imbalance
from common.processes import parallel, share
from common.runs import Run
from common.schedules import annealed, ramp, warm_cosine
from common.streams import key, stream
from common.views import plain, plain_batches, source_view, source_views, target_view
from common.weights import save_tensors

CHECKPOINT_EVERY = 1000  # steps of self-training
KEPT = (20, 100, 300)  # steps of stage 2 after which its networks are saved, in addition to the last


def train(options: Options, data: Data, run: Run, device: torch.device, precision: str) -> Adapted:
    """Train the stages of the method and return the networks as they are released."""
    adapted = []
    for number in range(options.students):
        begin = number * (options.source_steps + options.adversarial_steps)
        middle, end = begin + options.source_steps, begin + options.source_steps + options.adversarial_steps
        torch.manual_seed(key(options.seed, "first weights", number))
        network, discriminator = build(options.network, options.width, options.conditional, len(data.classes))
        network, discriminator = network.to(device), discriminator.to(device)
        source = run.stage(f"source-{number}", middle, network, partial(
            train_source, network, options, data, run, begin, device, precision))
        if options.method == "target-only":
            return Adapted(source, copy.deepcopy(source))
        adapted.append(run.stage(f"adapted-{number}", end, Adapted(source, copy.deepcopy(source)), partial(
            adapt, source, discriminator, options, data, run, middle, device, precision)))
    if options.method == "adda":
        return adapted[0]
    return self_train(adapted, options, data, run, device, precision)


def train_source(network: Classifier, options: Options, data: Data, run: Run, begin: int,
                 device: torch.device, precision: str) -> Classifier:
    """Stage 1 (equation 1): train M_s and C on labelled, augmented source images. Returns the average of
    their weights, in evaluation mode."""
    averaged = EMA(network, options.ema)
    optimiser = optimiser_of(network, options)
    parts = {"network": network, "averaged": averaged.network, "optimiser": optimiser}
    run.restore(parts, begin)
    network = parallel(network)
    batches = source_batches(options, data, options.batch, device)

    for step in run.steps(parts, begin + options.source_steps):
        draws = stream(options.seed, "views", step)
        set_rate(optimiser, options, step - begin, (step - begin) / options.source_steps)
        network.train()
        index = batches(step)
        with autocast(device, precision):
            logits = network(share(source_view(data.images[index], options, draws)))
            loss = class_loss(logits, share(data.labels[index]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        averaged.update(network, step - begin)

        if run.log_due(step):
            views = source_views(data.images[:2000], options, options.seed)
            held_out = held_out_accuracy(with_statistics(averaged.network, views, options), data)
            run.log(step + 1, len(index), {"class loss": loss.item(), **held_out})
    # with statistics of augmented images, which is what it sees in stage 2
    views = source_views(data.images[:10_000], options, options.seed)
    return with_statistics(averaged.network, views, options)


def adapt(source: Classifier, discriminator: Discriminator, options: Options, data: Data, run: Run,
          begin: int, device: torch.device, precision: str) -> Adapted:
    """Stage 2 (equation 9): train M_t, initialised from M_s, against D with the inverted-label loss. M_s and
    C stay frozen, including their BatchNorm statistics."""
    end = begin + options.adversarial_steps
    source.requires_grad_(False).eval()
    target = copy.deepcopy(source)
    averaged = EMA(target, options.ema)
    target.encoder.requires_grad_(True)
    encoder_optimiser = torch.optim.Adam(target.encoder.parameters(), options.encoder_lr, options.betas,
                                         weight_decay=options.weight_decay, fused=True)
    discriminator_optimiser = torch.optim.Adam(discriminator.parameters(), options.discriminator_lr,
                                               options.betas, weight_decay=options.weight_decay, fused=True)
    parts = {"target": target, "averaged": averaged.network, "discriminator": discriminator,
             "encoder_optimiser": encoder_optimiser, "discriminator_optimiser": discriminator_optimiser}
    run.restore(parts, begin)
    target, discriminator = parallel(target), parallel(discriminator)
    batches = source_batches(options, data, options.batch, device)
    unlabelled_batches = target_batches(options, data, device)

    for step in run.steps(parts, end):
        draws = stream(options.seed, "views", step)
        target.encoder.train()
        index = batches(step)
        source_images = share(source_view(data.images[index], options, draws))
        target_images = share(target_view(data.unlabelled[unlabelled_batches(step)], options, draws))

        # the step of D; no gradient reaches the encoders
        with torch.no_grad(), autocast(device, precision):
            source_features, target_features = source.features(source_images), target.features(target_images)
        with autocast(device, precision):
            d_source, d_target = domain_logits(discriminator, source, source_features, target_features,
                                               options.joint)
            discriminator_loss = domain_loss(d_source, d_target)
        discriminator_optimiser.zero_grad()
        discriminator_loss.backward()
        discriminator_optimiser.step()

        # the step of M_t, against the updated D
        discriminator.requires_grad_(False)
        with autocast(device, precision):
            target_features = target.features(target_images)
            _, d_target = domain_logits(discriminator, source, source_features, target_features,
                                        options.joint)
            encoder_loss = losses.encoder_loss(d_target)
        encoder_optimiser.zero_grad()
        encoder_loss.backward()
        encoder_optimiser.step()
        discriminator.requires_grad_(True)
        averaged.update(target, step - begin)

        done = step + 1 - begin
        if done in KEPT or step + 1 == end:
            plain_images = plain_batches(data.unlabelled[:2000])
            keep(Adapted(source, with_statistics(averaged.network, plain_images, options)), run, step + 1)
        if run.log_due(step):
            run.log(step + 1, 2 * len(index), {
                "discriminator loss": discriminator_loss.item(), "encoder loss": encoder_loss.item(),
                "domain": 100 * domain_accuracy(d_source, d_target).item()})
    plain_images = plain_batches(data.unlabelled[:10_000])
    return Adapted(source, with_statistics(averaged.network, plain_images, options))


def domain_logits(discriminator: Discriminator, network: Classifier, source: Tensor, target: Tensor,
                  joint: bool) -> tuple[Tensor, Tensor]:
    """Source features (N, D) and target features (M, D) → domain logits (N, 2) and (M, 2). Each domain is a
    batch of its own, or both are one batch (`joint`). D's step and the encoder's step both call this
    function, because BatchNorm in D must see batches of the same kind in both: trained on joint batches and
    applied to the target alone, it would subtract the very difference that the encoder should reduce."""
    if joint:
        both = torch.cat([source, target])
        d_source, d_target = discriminator(both, network.classifier(both)).split([len(source), len(target)])
        return d_source, d_target
    d_source, d_target = (discriminator(each, network.classifier(each)) for each in (source, target))
    return d_source, d_target


def self_train(adapted: list[Adapted], options: Options, data: Data, run: Run, device: torch.device,
               precision: str) -> Adapted:
    """Stage 3, self-training: each student starts from an M_t and its C, and its weight average is a teacher
    (Tarvainen & Valpola 2017; French et al. 2018). All students learn from the mean of the teachers, since
    networks that were trained apart make different mistakes. In each step they see labelled source images and
    unlabelled target images in separate forward passes, so that BatchNorm sees one domain at a time. Returns
    the first teacher."""
    begin = options.students * (options.source_steps + options.adversarial_steps)
    students = nn.ModuleList(copy.deepcopy(each.target) for each in adapted).requires_grad_(True)
    teachers = EMA(students, options.ema)
    frequencies = ClassFrequencies(len(data.classes)).to(device)
    optimiser = optimiser_of(students, options)
    parts = {"students": students, "teachers": teachers.network, "frequencies": frequencies,
             "optimiser": optimiser}
    run.restore(parts, begin)
    students, teachers.network = parallel(students), parallel(teachers.network)
    first = cast(Classifier, teachers.network[0])
    batches = source_batches(options, data, options.source_batch, device)
    unlabelled_batches = target_batches(options, data, device)

    for step in run.steps(parts):
        draws = stream(options.seed, "views", step)
        progress = (step - begin) / options.self_training_steps
        target_weight = ramp(progress, options.ramp)
        set_rate(optimiser, options, step - begin, progress)
        students.train()
        teachers.network.train()  # with the statistics of the batch: running averages would mix the domains
        index, images = batches(step), data.unlabelled[unlabelled_batches(step)]
        with torch.no_grad(), autocast(device, precision):
            logits = [teacher(share(shift(plain(images), 2, draws))) for teacher in teachers.network]
            teacher_logits = losses.mean_prediction(logits).repeat(len(students), 1)
            frequencies.update(teacher_logits)
        with autocast(device, precision):
            source_logits = torch.cat([student(share(source_view(data.images[index], options, draws)))
                                       for student in students])
            target_logits = torch.cat([student(share(target_view(images, options, draws)))
                                       for student in students])
            mask = losses.confidence_mask(teacher_logits, source_logits, options.threshold)
            # classes are balanced in source batches; adjust the logits to the class frequencies of the target
            # (Menon et al. 2021)
            source_loss = class_loss(source_logits - target_weight * frequencies.log_ratio(),
                                     share(data.labels[index]).repeat(len(students)))
            target_loss = losses.self_training_loss(target_logits, teacher_logits, mask)
            # at first, before the teachers are reliable, keep every class predicted
            balance = options.balance * (1 - target_weight)
            loss = source_loss + target_weight * target_loss + balance * imbalance(target_logits)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        # no warm-up of the average, since the teacher starts from trained weights
        teachers.update(students, step)

        done = step + 1 - begin
        checkpoint = done % CHECKPOINT_EVERY == 0 or done == options.self_training_steps
        if run.log_due(step) or checkpoint:
            metrics = {"class loss": source_loss.item(), "target loss": target_loss.item(),
                       "mask": 100 * mask.float().mean().item(),
                       "agreement": 100 * losses.agreement(logits).item()}
            if checkpoint:
                metrics |= keep_checkpoint(first, options, data, run, done)
            run.log(step + 1, len(index) + len(images), metrics)
            if checkpoint:
                done_share = done / options.self_training_steps
                if warning := losses.collapse_warning(metrics, done_share, len(data.classes)):
                    run.say(f"warning: {warning}")
    return both_domains(first, options, data, 10_000)


def both_domains(network: Classifier, options: Options, data: Data, count: int) -> Adapted:
    """The network twice, with BatchNorm statistics of plain images of either domain."""
    return Adapted(with_statistics(network, plain_batches(data.images[:count]), options),
                   with_statistics(network, plain_batches(data.unlabelled[:count]), options))


def keep(adapted: Adapted, run: Run, done: int) -> None:
    """Save the networks after `done` steps of the run, as checkpoints/000020.safetensors. `adda.evaluate`
    measures these files; no program chooses among them."""
    make_folder(run.folder / "checkpoints")
    save_tensors(run.folder / "checkpoints" / f"{done:06}.safetensors", adapted)


def keep_checkpoint(teacher: Classifier, options: Options, data: Data, run: Run,
                    done: int) -> dict[str, float]:
    """Save the teacher as it would be released after `done` steps of self-training. Returns metrics that need
    no label of the target."""
    adapted = both_domains(teacher, options, data, 2000)
    keep(adapted, run, run.step + 1)
    with torch.inference_mode():
        logits = torch.cat([adapted.target(batch) for batch in plain_batches(data.unlabelled[:2000])])
    return {**held_out_accuracy(adapted.source, data), **criteria(logits, options.threshold)}


def held_out_accuracy(network: Classifier, data: Data) -> dict[str, float]:
    """Accuracy (%) on the held-out source images, or nothing if none are held out."""
    if not len(data.held_images):
        return {}
    return {"held-out": accuracy(network, data.held_images, data.held_labels)}


def with_statistics(network: Classifier, batches: list[Tensor], options: Options) -> Classifier:
    """A copy in evaluation mode, with BatchNorm statistics of these batches (N, 3, H, W) in [0, 1]. No label
    is involved."""
    return estimate_statistics(network, batches) if options.adabn else copy.deepcopy(network).eval()


def source_batches(options: Options, data: Data, batch: int, device: torch.device) -> Balanced | Shuffled:
    """Indices of the labelled images of each step."""
    if options.balanced:
        return Balanced(data.labels, batch, options.seed, "labelled batches")
    return Shuffled(len(data.labels), batch, options.seed, "labelled batches", device)


def target_batches(options: Options, data: Data, device: torch.device) -> Shuffled:
    """Indices of the unlabelled images of each step."""
    return Shuffled(len(data.unlabelled), options.batch, options.seed, "unlabelled batches", device)


def optimiser_of(network: nn.Module, options: Options) -> torch.optim.Optimizer:
    """The optimiser of stages 1 and 3."""
    if options.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), options.lr, momentum=0.9,
                               weight_decay=options.weight_decay, fused=True)
    return torch.optim.Adam(network.parameters(), options.lr, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, options: Options, step: int, progress: float) -> None:
    """Set the learning rate of a step of stage 1 or 3."""
    if options.optimiser == "sgd":
        if options.epochs:  # the rate falls after each epoch
            progress = math.floor(progress * options.epochs) / options.epochs
        rate = annealed(options.lr, progress)
    else:
        rate = warm_cosine(options.lr, step, progress)
    for group in optimiser.param_groups:
        group["lr"] = rate


def main() -> None:
    setting = training.setting(training.arguments("adda.train", __doc__, Options, PRESETS), Options, chosen)
    options, device = setting.options, setting.device
    labelled, unlabelled = options.source, options.target
    if options.method == "target-only":
        labelled, unlabelled = options.target, None
    data = Data(setting.args.data, labelled, unlabelled, options.held_out, device)
    if options.epochs:
        setting.options = options = dataclasses.replace(
            options, source_steps=options.epochs * (len(data.images) // options.batch))
    if setting.args.dry_run:
        network, _ = build(options.network, options.width, options.conditional, len(data.classes))
        training.show_plan(training.written(setting, data.hashes), network, len(data.images),
                           len(data.held_images), device)
        return
    earlier_steps = options.students * (options.source_steps + options.adversarial_steps)
    training.carry_out(
        setting, name=f"{options.method}-{name(options.source)}-{name(options.target)}",
        steps=earlier_steps + options.self_training_steps, data=data.hashes, card={"classes": data.classes},
        command=command(setting.preset, options), measure="adda.evaluate --weights",
        train=lambda run: train(options, data, run, device, setting.precision))


if __name__ == "__main__":
    run_main(main)
