"""The losses and networks of ADDA."""

import math

import pytest
import torch
from torch import nn

from adda import losses
from adda.models import ClassFrequencies, build
from common.criteria import criteria
from common.losses import SOURCE, TARGET, domain_accuracy, domain_loss

SAYS_SOURCE, SAYS_TARGET = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 20.0]])


def test_encoders_labels_are_the_discriminators_inverted():
    """The labels of the encoder's adversarial loss are those of the discriminator's, inverted."""
    assert domain_loss(SAYS_SOURCE, SAYS_TARGET) < 1e-3 < 10 < losses.encoder_loss(SAYS_TARGET)
    assert losses.encoder_loss(SAYS_SOURCE) < 1e-3 < 9 < domain_loss(SAYS_TARGET, SAYS_SOURCE)
    logits = torch.zeros(3, 2, requires_grad=True)
    losses.encoder_loss(logits).backward()
    assert (logits.grad[:, SOURCE] < 0).all() and (logits.grad[:, TARGET] > 0).all()


def test_discriminator_loss_weighs_the_domains_alike_and_is_ln2_at_chance():
    assert domain_loss(torch.zeros(3, 2), torch.zeros(50, 2)) == pytest.approx(math.log(2))
    wrong = torch.tensor([[0.0, 4.0]])
    one, many = (domain_loss(wrong, SAYS_TARGET.repeat(n, 1)) for n in (1, 9))
    assert one == pytest.approx(float(many))


def test_domain_accuracy_uses_the_right_labels():
    assert domain_accuracy(SAYS_SOURCE, SAYS_TARGET.repeat(4, 1)) == 1
    assert domain_accuracy(SAYS_TARGET, SAYS_SOURCE) == 0


def test_confidence_mask_is_relative_to_the_confidence_on_the_source():
    teacher = torch.log(torch.tensor([[0.55, 0.45], [0.70, 0.30], [0.95, 0.05]]))
    source = torch.log(torch.tensor([[0.8, 0.2], [0.2, 0.8]]))  # mean confidence 0.8
    assert losses.confidence_mask(teacher, source, 0.75).tolist() == [False, True, True]
    assert losses.confidence_mask(teacher, source, 0.9).tolist() == [False, False, True]
    # logits, not probabilities
    assert losses.confidence_mask(teacher, source - 5, 0.9).tolist() == [False, False, True]


def test_self_training_uses_only_confident_predictions_of_the_teacher():
    teacher = 20.0 * torch.eye(10)[:4]
    student = torch.zeros(4, 10, requires_grad=True)
    sure = torch.tensor([True, False, True, False])
    loss = losses.self_training_loss(student, teacher.requires_grad_(True), sure)
    assert loss.item() == pytest.approx(2 / 4 * math.log(10))
    loss.backward()
    assert teacher.grad is None and (student.grad[[1, 3]] == 0).all()
    assert student.grad[0].argmin() == 0 and student.grad[2].argmin() == 2
    assert losses.self_training_loss(20.0 * torch.eye(10)[:4], teacher, sure) < 1e-3


def test_criteria_distinguish_confident_diverse_and_collapsed_predictions():
    good = criteria(20.0 * torch.eye(10).repeat(5, 1), 0.9)
    assert good["confident"] == 1 and good["class entropy"] == pytest.approx(math.log(10), abs=1e-3)
    assert good["nuclear norm"] == pytest.approx(1, abs=1e-3)
    collapsed = criteria(20.0 * torch.eye(10)[:1].repeat(50, 1), 0.9)
    assert (collapsed["confident"] == 1 and collapsed["class entropy"] < 0.01
            and collapsed["nuclear norm"] < 0.4)
    unsure = criteria(torch.zeros(50, 10), 0.9)
    assert unsure["confident"] == 0 and unsure["nuclear norm"] < 0.4
    assert losses.collapse_warning(good, 1.0) is None and losses.collapse_warning(unsure, 0.2) is None
    assert ("of 10 classes" in losses.collapse_warning(collapsed, 0.2)
            and "confident" in losses.collapse_warning(unsure, 0.5))


def test_report_networks_are_the_reports():
    network, discriminator = build("report")

    def shapes(module):
        return [tuple(layer.weight.shape) for layer in module.modules()
                if isinstance(layer, nn.Conv2d | nn.Linear)]

    assert shapes(network) == [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    assert shapes(discriminator) == [(500, 500), (500, 500), (2, 500)]
    assert [type(layer).__name__ for layer in network.encoder] == [
        "Conv2d", "BatchNorm2d", "LeakyReLU", "MaxPool2d", "Conv2d", "BatchNorm2d", "LeakyReLU", "MaxPool2d",
        "Flatten", "Linear", "BatchNorm1d", "LeakyReLU"]
    layers = [*network.modules(), *discriminator.modules()]
    assert all(layer.eps == 1e-5 for layer in layers if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d))
    assert all(layer.negative_slope == 0.01 for layer in layers if isinstance(layer, nn.LeakyReLU))


def test_default_network_is_small():
    network, _ = build("default")
    assert sum(p.numel() for p in network.parameters()) < 500_000


@pytest.mark.parametrize("name", ["report", "default"])
def test_heads_return_logits(name):
    torch.manual_seed(0)
    network, discriminator = build(name)
    features = network.train().features(torch.rand(16, 3, 28, 28))
    logits = network.classifier(features)
    for out, classes in ((logits, 10), (discriminator(features, logits), 2)):
        assert out.shape == (16, classes)
        assert not torch.allclose(out.exp().sum(1), torch.ones(16), atol=1e-3)
        assert not torch.allclose(out.sum(1), torch.ones(16), atol=1e-3)


@pytest.mark.parametrize("name", ["report", "default"])
def test_one_rule_scales_every_image_to_one_number_of_channels(name):
    """The normalisation of an image depends neither on its domain nor on the other images of the batch."""
    scale = build(name)[0].scale
    images = torch.rand(6, 3, 28, 28)
    torch.testing.assert_close(scale(images)[2:3], scale(images[2:3]))
    assert scale(images).shape == (6, 1 if name == "report" else 3, 28, 28) and not scale.state_dict()
    if name == "report":
        white = scale(torch.ones(1, 3, 28, 28))
        assert white.min() == pytest.approx(1, abs=1e-3) and scale(0 * images).max() == pytest.approx(-1)


def test_conditional_discriminator_sees_classes_but_does_not_train_the_classifier():
    torch.manual_seed(0)
    _, discriminator = build("default")
    features, logits = torch.randn(4, 128), torch.randn(4, 10, requires_grad=True)
    out = discriminator(features, logits)
    assert not torch.allclose(out, discriminator(features, logits.roll(1, 1)))
    out.sum().backward()
    assert logits.grad is None


def test_class_frequencies_follow_predictions_and_no_class_is_lost():
    frequencies = ClassFrequencies(4)
    assert frequencies.log_ratio().tolist() == [0, 0, 0, 0]
    logits = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1]]).log()
    frequencies.update(logits)
    assert frequencies.estimate.tolist() == pytest.approx([0.2525, 0.2505, 0.2485, 0.2485])
    for _ in range(2000):
        frequencies.update(torch.tensor([[0.5, 0.25, 0.25, 1e-9]]).log())
    assert frequencies.log_ratio().tolist() == pytest.approx([math.log(2), 0, 0, math.log(0.1)], abs=1e-4)


def test_the_teacher_is_the_mean_of_the_probabilities_and_unsure_where_networks_disagree():
    first, second = torch.tensor([[5.0, 0], [5.0, 0]]), torch.tensor([[5.0, 0], [0, 5.0]])
    mean = losses.mean_prediction([first, second]).softmax(1)
    torch.testing.assert_close(mean, (first.softmax(1) + second.softmax(1)) / 2)
    assert losses.confidence(mean.log()).tolist() == pytest.approx([0.9933, 0.5], abs=1e-4)
    assert losses.agreement([first, second]) == 0.5
