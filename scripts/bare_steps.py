"""Minimal training steps (forward, backward and optimiser on given batches), the baselines of
scripts.benchmark. With `fast`, they use the memory layout and precision of this repository, otherwise float32
and PyTorch's default layout."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

import adda.losses
import adda.options
import gan.models
import gan.options
from adda.models import Classifier
from common.adversary import adam, discriminator_loss, generator_loss
from common.device import autocast
from common.losses import class_loss, domain_loss
from dann import losses
from dann.models import build
from dann.options import Options


def network_step(options: Options, device: torch.device, precision: str,
                 fast: bool) -> Callable[[Tensor, Tensor, Tensor], None]:
    """A minimal step of DANN."""
    model = build(options.network, options.width, options.conditional).to(device)
    if not fast:
        model = model.to(memory_format=torch.contiguous_format)
    optimiser = torch.optim.Adam(model.parameters(), options.lr, fused=True)

    def run(source: Tensor, labels: Tensor, target: Tensor) -> None:
        with autocast(device, precision if fast else "fp32"):
            s_features, t_features = model.features(source), model.features(target)
            s_logits, t_logits = model.classifier(s_features), model.classifier(t_features)
            domain = domain_loss(model.domain_logits(s_features, s_logits, 0.1),
                                 model.domain_logits(t_features, t_logits, 0.1))
            loss = class_loss(s_logits, labels) + domain + losses.entropy(t_logits, options.views)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return run


def self_training_step(network: Classifier, options: adda.options.Options, device: torch.device,
                       precision: str) -> Callable[[Tensor, Tensor, Tensor], None]:
    """A minimal step of self-training. Students and teachers are copies of `network`."""
    students, teachers = (nn.ModuleList(copy.deepcopy(network) for _ in range(options.students)).train()
                          for _ in range(2))
    optimiser = torch.optim.Adam(students.parameters(), options.lr, fused=True)

    def run(source: Tensor, labels: Tensor, target: Tensor) -> None:
        with torch.no_grad(), autocast(device, precision):
            teacher_logits = adda.losses.mean_prediction(
                [teacher(target) for teacher in teachers]).repeat(len(students), 1)
        with autocast(device, precision):
            source_logits = torch.cat([student(source) for student in students])
            target_logits = torch.cat([student(target) for student in students])
            mask = adda.losses.confidence_mask(teacher_logits, source_logits, options.threshold)
            loss = (class_loss(source_logits, labels.repeat(len(students)))
                    + adda.losses.self_training_loss(target_logits, teacher_logits, mask))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return run


def game_step(options: gan.options.Options, device: torch.device, precision: str,
              fast: bool) -> Callable[[Tensor], None]:
    """A minimal step of DCGAN, which updates both networks."""
    memory = torch.channels_last if fast else torch.contiguous_format
    generator, discriminator = (network(options.width).to(device).to(memory_format=memory)
                                for network in (gan.models.Generator, gan.models.Discriminator))
    g_optimiser, d_optimiser = adam(generator, options), adam(discriminator, options)
    z = gan.models.noise(options.batch, 0).to(device)

    def run(real: Tensor) -> None:
        with autocast(device, precision if fast else "fp32"):
            fake = generator(z)
            d_loss = discriminator_loss(discriminator(real), discriminator(fake.detach()))
        d_optimiser.zero_grad()
        d_loss.backward()
        d_optimiser.step()
        discriminator.requires_grad_(False)
        with autocast(device, precision if fast else "fp32"):
            g_loss = generator_loss(discriminator(fake))
        g_optimiser.zero_grad()
        g_loss.backward()
        g_optimiser.step()
        discriminator.requires_grad_(True)
    return run
