"""The losses and networks of DANN."""

import math

import pytest
import torch
from torch import nn

from common.losses import class_loss, domain_accuracy, domain_loss, imbalance
from common.schedules import ramp
from dann import losses
from dann.models import build


def test_reversal_is_exactly_minus_strength_times_gradient():
    features = torch.randn(5, 7, requires_grad=True)
    weight = torch.randn(5, 7)
    out = losses.reverse_gradient(features, 0.3)
    assert torch.equal(out, features)
    (out * weight).sum().backward()
    torch.testing.assert_close(features.grad, -0.3 * weight, rtol=0, atol=0)


def test_reversal_leaves_the_domain_heads_own_gradient_alone():
    """λ must not scale the domain classifier's own gradient (a mistake described in DomainBed #143)."""
    torch.manual_seed(0)
    head, features = nn.Linear(4, 2), torch.randn(6, 4)
    gradients = []
    for strength in (0.0, 0.1, 1.0):
        head.zero_grad()
        out = head(losses.reverse_gradient(features, strength))
        domain_loss(out[:3], out[3:]).backward()
        gradients.append(head.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_schedule_starts_at_zero_and_ends_near_one():
    assert losses.reversal_schedule(0.0) == 0
    assert losses.reversal_schedule(0.1) == pytest.approx(2 / (1 + math.exp(-1)) - 1)
    assert losses.reversal_schedule(1.0) == pytest.approx(1, abs=1e-4)


def test_perfect_logits_give_no_loss():
    """The cross-entropy of a softmax's output would be at least 1.46 for ten classes and 0.31 for two."""
    labels = torch.arange(10)
    assert class_loss(20.0 * torch.eye(10), labels) < 1e-3
    sure = torch.tensor([[20.0, 0.0]])
    assert domain_loss(sure, sure.flip(1)) < 1e-3


def test_domain_loss_weighs_the_domains_alike_and_is_ln2_at_chance():
    unsure = torch.zeros(3, 2)
    assert domain_loss(unsure, torch.zeros(50, 2)) == pytest.approx(math.log(2))
    wrong, sure = torch.tensor([[0.0, 4.0]]), torch.tensor([[0.0, 20.0]])
    one = domain_loss(wrong, sure)
    many = domain_loss(wrong, sure.repeat(9, 1))
    assert one == pytest.approx(float(many))


def test_entropy_is_that_of_the_predictions():
    assert losses.entropy(torch.zeros(3, 10)) == pytest.approx(math.log(10))
    assert losses.entropy(50.0 * torch.eye(10)) == pytest.approx(0, abs=1e-6)


def test_views_of_an_image_that_are_sure_of_different_classes_have_entropy():
    sure = 50.0 * torch.eye(10)[:4]
    assert losses.entropy(torch.cat([sure, sure]), 2) == pytest.approx(0, abs=1e-6)
    assert losses.entropy(torch.cat([sure, sure.roll(1, 0)]), 2) == pytest.approx(math.log(2), abs=1e-4)
    # as images of their own they are all sure
    assert losses.entropy(torch.cat([sure, sure.roll(1, 0)])) == pytest.approx(0, abs=1e-6)
    assert ramp(0) == 0 and ramp(0.25) == pytest.approx(0.5) and ramp(0.5) == ramp(1) == 1
    assert ramp(0.5, 1.0) == pytest.approx(0.5)


def test_imbalance_is_least_where_all_classes_are_predicted():
    even, one = 20.0 * torch.eye(10), 20.0 * torch.eye(10)[:1].expand(10, -1)
    assert imbalance(even) == pytest.approx(math.log(10), abs=1e-3) and imbalance(one) > 10


def test_conditional_domain_classifier_sees_classes_but_does_not_train_the_classifier():
    torch.manual_seed(0)
    network = build("default", conditional=True)
    features, logits = torch.randn(4, 128), torch.randn(4, 10, requires_grad=True)
    out = network.domain_logits(features, logits, 1.0)
    assert not torch.allclose(out, network.domain_logits(features, logits.roll(1, 1), 1.0))
    out.sum().backward()
    assert logits.grad is None


def test_domain_accuracy_uses_the_right_labels():
    source, target = torch.tensor([[3.0, 0.0]] * 4), torch.tensor([[0.0, 3.0]] * 2)
    assert domain_accuracy(source, target) == 1
    assert domain_accuracy(target, source) == 0


@pytest.mark.parametrize("name", ["report", "default"])
def test_heads_return_logits(name):
    """Logits are not normalised: a row's exponentials do not sum to one, and values lie outside [0, 1]."""
    torch.manual_seed(0)
    network = build(name).train()
    features = network.features(torch.rand(16, 3, 28, 28))
    logits = network.classifier(features)
    for out, classes in ((logits, 10), (network.domain_logits(features, logits, 1.0), 2)):
        assert out.shape == (16, classes)
        assert not torch.allclose(out.exp().sum(1), torch.ones(16), atol=1e-3)
        assert not torch.allclose(out.sum(1), torch.ones(16), atol=1e-3)


@pytest.mark.parametrize("name", ["report", "default"])
def test_target_batch_changes_the_feature_gradient_and_not_the_classifiers(name):
    torch.manual_seed(0)
    network = build(name).eval()  # no dropout, no batch statistics: the only influence is the adversary
    source, labels = torch.rand(8, 3, 28, 28), torch.arange(8)

    def gradients(target):
        network.zero_grad()
        features, others = network.features(source), network.features(target)
        domain = domain_loss(network.domain_logits(features, network.classifier(features), 1.0),
                                    network.domain_logits(others, network.classifier(others), 1.0))
        (class_loss(network.classifier(features), labels) + domain).backward()
        return [torch.cat([p.grad.flatten() for p in part.parameters()]).clone()
                for part in (network.feature, network.classifier)]

    (feature_a, class_a), (feature_b, class_b) = (gradients(torch.rand(8, 3, 28, 28)),
                                                  gradients(torch.rand(8, 3, 28, 28)))
    assert not torch.allclose(feature_a, feature_b)
    torch.testing.assert_close(class_a, class_b)


def test_report_network_is_the_reports():
    network = build("report")
    shapes = [tuple(layer.weight.shape) for layer in network.modules()
              if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert shapes == [(64, 3, 5, 5), (50, 64, 5, 5), (100, 800), (100, 100), (10, 100), (100, 800), (2, 100)]
    # BatchNorm2d(n, 0.8) would set eps, not the momentum
    assert all(layer.eps == 1e-5 for layer in network.modules()
               if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d))


@pytest.mark.parametrize("name", ["report", "default"])
def test_a_network_scales_every_image_by_one_rule(name):
    """The normalisation of an image depends neither on its domain nor on the other images of the batch."""
    scale = build(name).scale
    images = torch.rand(6, 3, 28, 28)
    torch.testing.assert_close(scale(images)[2:3], scale(images[2:3]))
    parameters = list(scale.parameters()) + list(scale.buffers())
    assert not parameters
