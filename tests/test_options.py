"""Command lines and options: one-line errors for bad input, ranges of numbers, precedence over presets."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest
from conftest import call

import acgan.options
import gan.options
from common import options as command_line
from common.cli import InputError, Parser, Range, run_main, whole
from dann.options import Options

PROGRAMS = ("gan", "acgan", "dann", "adda")


def run(main, capsys):
    with pytest.raises(SystemExit) as end:
        run_main(main)
    return end.value.code, capsys.readouterr()


def raising(problem):
    def main():
        raise problem
    return main


def test_bad_input_gives_a_one_line_error_and_exit_code_2(capsys):
    code, printed = run(raising(InputError("a.csv is empty;\nfill it")), capsys)
    assert (code, printed.err, printed.out) == (2, "error: a.csv is empty; fill it\n", "")
    for problem, word in ((MemoryError(), "memory"),
                          (RuntimeError("DefaultCPUAllocator: can't allocate memory: …"), "memory"),
                          (FileNotFoundError(2, "No such file", "x.csv"), "x.csv"),
                          (BrokenPipeError(32, "Broken pipe"), "output")):
        code, printed = run(raising(problem), capsys)
        assert code == 2 and printed.err.count("\n") == 1 and word in printed.err
    assert run(raising(KeyboardInterrupt()), capsys)[0] == 130
    with pytest.raises(RuntimeError, match="a bug"):
        run_main(raising(RuntimeError("a bug")))


@pytest.mark.parametrize("text", [
    "0", "-3", "nan", "inf", "1e300", "99999999999999999999", "2.5", "", "many"])
def test_a_number_out_of_range_gives_a_one_line_error(text, capsys):
    parser = Parser(prog="x")
    parser.add_argument("--count", type=whole(1, 1000))
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([f"--count={text}"])
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "--count" in message and "must be" in message


def test_range_bounds():
    assert Range(least=0, below=1).problem(0) is None and Range(least=0, below=1).problem(0.99) is None
    assert Range(least=0, below=1).problem(1.0) == "must be at least 0 and less than 1, not 1.0"
    assert Range(above=0, most=2).problem(0) and not Range(above=0, most=2).problem(2)
    assert (all(Range().problem(value) for value in (float("nan"), float("inf")))
            and not Range().problem(1e300))


@pytest.mark.parametrize("package", PROGRAMS)
def test_every_number_among_the_options_has_bounds_that_hold(package):
    """Zero, negative, NaN, infinite, 1e300 and beyond 64 bits: invalid values are refused, and the error
    names the option."""
    options = importlib.import_module(f"{package}.options").Options
    command_line.check(options())
    for field in dataclasses.fields(options):
        value = getattr(options(), field.name)
        if isinstance(value, bool | str):
            continue
        for wrong in (-1e9, 1e300, float("nan"), float("inf"), 2**64, 10**400, "7", True, None):
            bad = (wrong, wrong) if isinstance(value, tuple) else wrong
            with pytest.raises(InputError, match=f"--{field.name.replace('_', '-')} must"):
                command_line.check(dataclasses.replace(options(), **{field.name: bad}))


@pytest.mark.parametrize("package", PROGRAMS)
@pytest.mark.parametrize("arguments", [
    "--lr nan", "--lr=-1", "--lr 1e300", "--seed 99999999999999999999", "--seed=-1", "--batch 1",
    "--width 0", "--width 1000000000", "--ema 1", "--device meta", "--epochs=-2"])
def test_a_trainings_numbers_are_checked_before_any_data_is_read(package, arguments):
    result = call(f"{package}.train", "--data", "nowhere", *arguments.split(), code=2)
    assert result.stderr.count("\n") == 1 and arguments.split("=")[0].split()[0] in result.stderr


def test_options_on_the_command_line_stand_over_the_preset():
    parser = Parser(prog="x")
    command_line.add_options(parser, Options)
    args = parser.parse_args(["--lr", "0.5", "--no-balanced", "--source-zoom", "1", "2"])
    options = command_line.options_from(args, Options(steps=7))
    assert (options.lr, options.balanced, options.source_zoom, options.steps) == (0.5, False, (1.0, 2.0), 7)
    again = command_line.from_json(Options, json.loads(json.dumps({**vars(options), "unknown": 1})),
                                   Path("options.json"))
    assert again == options
    command_line.show_defaults(parser, options)
    text = " ".join(parser.format_help().split())
    assert ("decay of the weight average that is released; 0 releases the last weights (default: 0.998)"
            in text)
    assert "learning rate of Adam (default: 0.5)" in text and "(default: 1.0 2.0)" in text


@pytest.mark.parametrize(("name", "value"), [
    ("width", -1), ("width", 1.5), ("width", "64"), ("width", 10**30), ("width", None),
    ("network", "magic"), ("network", 3), ("source_zoom", [1]), ("source_zoom", [2, 1]),
    ("source_zoom", "ab"), ("conditional", 1), ("lr", True), ("lr", [])])
def test_options_of_a_file_are_checked_like_those_of_the_command_line(name, value):
    values = json.loads(json.dumps({**dataclasses.asdict(Options()), name: value}))
    with pytest.raises(InputError, match=rf"card\.json: {name} must"):
        command_line.from_json(Options, values, Path("card.json"))
    del values[name]
    with pytest.raises(InputError, match=name):
        command_line.from_json(Options, values, Path("card.json"))
    assert command_line.from_json(Options, values, Path("card.json"), needed=("steps",)) == Options()


@pytest.mark.parametrize(("arguments", "value"), [
    (("--source", "mnistm"), "0.0001"), (("--source", "svhn"), "0.0005"),
    (("--target", "mnistm", "--help"), "0.0005"), (("--preset", "report"), "0.0002")])
def test_help_shows_the_defaults_that_hold(arguments, value):
    """Defaults are those of the direction and preset on the command line, including 0 and false."""
    said = " ".join(call("adda.train", *arguments, "--help").stdout.split())
    assert f"if too large, it forgets its classes (default: {value})" in said
    assert "discriminator with BatchNorm, as in the report (default: False)" in said
    assert ("0 takes the last weights (default: 0.0)" in said) is ("report" in arguments)


def test_help_of_every_program_is_printed(capsys):
    for module in ("dann.train", "adda.evaluate", "gan.generate", "scripts.score"):
        assert "--help" in call(module, "--help").stdout and sys.argv


def test_the_report_presets_of_the_gans_are_the_recipes_of_the_original():
    """Adam 1e-4, betas (.5, .999), batches of 128, 50 and 100 epochs; nothing augmented or averaged."""
    for package, epochs in ((gan, 50), (acgan, 100)):
        found = package.options.preset("report")
        assert (found.lr, found.betas, found.batch, found.epochs) == (1e-4, (0.5, 0.999), 128, epochs)
        assert (found.network, found.gamma, found.ema) == ("report", 0, 0)
        assert not found.flip
    # ACGAN: class loss on real and generated faces, whose classes are those of the real faces
    assert (found.class_on_fake and not found.balanced and not found.pair_weight and not found.keep
            and found.strength == 1)
