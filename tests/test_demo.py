"""The demo: the content of its page, the program's error messages, and the page in a browser, if available.

The page needs Gradio (requirements-demo.txt); the browser test needs Debian's `chromium` and
`pip install playwright`.
"""

import base64
import contextlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CPU, call
from PIL import Image, ImageDraw

import acgan.models
import acgan.train
import dann.predict
import gan.generate
import gan.models
from common.cli import InputError
from common.weights import save_weights
from dann.models import build
from scripts import demo_answers
from scripts.demo_answers import STEPS

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
THREE = [(85, 80), (110, 50), (165, 55), (180, 100), (135, 135), (185, 175), (165, 225), (110, 230)]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def networks():
    return demo_answers.load_networks(CPU)


def pixels(picture):
    return np.asarray(picture.convert("RGB")).astype(int)


def drawing():
    """The content of a canvas with a 3, as a browser sends it."""
    canvas, file = Image.new("RGB", (280, 280), "white"), io.BytesIO()
    ImageDraw.Draw(canvas).line(THREE, "black", 24, "curve")
    canvas.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


# ---- the content of the page

def test_a_walk_begins_and_ends_at_the_seeds_faces(networks):
    first, second = (demo_answers.face(networks, seed, seed, 7) for seed in (3, 5))
    z = torch.cat([gan.models.noise(1, 3), gan.models.noise(1, 5)])
    small = gan.generate.generate(networks.faces, z).permute(0, 2, 3, 1).int().numpy()
    for place, face in ((0, first), (STEPS, second)):
        assert face.size == (256, 256) and pixels(face).std() > 20
        assert abs(pixels(demo_answers.face(networks, 3, 5, place)) - pixels(face)).max() <= 2
        assert abs(pixels(face.resize((64, 64))) - small[place // STEPS]).mean() < 4
    steps = [pixels(demo_answers.face(networks, 3, 5, place)) for place in range(STEPS + 1)]
    away = [abs(step - steps[0]).mean() for step in steps]
    assert away[1] < away[STEPS // 2] < away[STEPS] and away[1] < 10


def test_the_smiles_ends_are_a_released_pair(networks):
    pair = acgan.train.pairs(networks.pairs, acgan.models.noise(1, 4), networks.strength)[:, 0]
    for smile, face in zip((1, -1), pair, strict=True):
        assert np.array_equal(pixels(demo_answers.smiling_face(networks, 4, smile)),
                              pixels(demo_answers.enlarged(face, 4, Image.Resampling.BICUBIC)))
    faces = [pixels(demo_answers.smiling_face(networks, 4, smile)) for smile in (-1, -0.5, 0, 0.5, 1)]
    away = [abs(face - faces[0]).mean() for face in faces]
    assert away == sorted({*away})


def test_a_drawing_is_read_as_every_network_should(networks, tmp_path):
    image = demo_answers.drawn_digit(drawing())
    assert image.shape == (3, 28, 28) and image.dtype == torch.uint8
    assert image.min() < 50 and image[:, 0, 0].min() > 250
    for target in ("mnistm", "svhn"):
        found = demo_answers.probabilities(networks, image, target)
        assert [*found] == networks.methods and "dann" in found and "adda-st" in found
        for method, digits in found.items():
            expected = networks.digits[method, target](image[None] / 255).softmax(1)[0]
            assert list(digits) == list("0123456789")
            assert list(digits.values()) == pytest.approx(expected.tolist(), abs=1e-5)
            assert max(digits, key=digits.get) == "3", (method, target)
    Image.open(io.BytesIO(base64.b64decode(drawing().partition(",")[2]))).save(tmp_path / "three.bmp")
    assert torch.equal(demo_answers.read_digit(tmp_path / "three.bmp"), image)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_a_wrong_upload_gives_a_one_line_error(content, tmp_path):
    (tmp_path / "mine.png").write_bytes(content)
    with pytest.raises(InputError,
                       match=r"^mine.png cannot be read as an image \(.+\); choose another file$"):
        demo_answers.read_digit(tmp_path / "mine.png")


def test_source_only_is_shown_where_it_is_released(tmp_path, monkeypatch):
    for file in dann.predict.WEIGHTS.glob("dann-*"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(dann.predict, "WEIGHTS", tmp_path)
    card = json.loads((tmp_path / "dann-svhn-mnistm.json").read_text())
    small = {**card, "options": {**card["options"], "method": "source-only", "width": 4}}
    save_weights(tmp_path / "source-only-svhn-mnistm.safetensors", build("default", 4), small)
    assert demo_answers.load_networks(CPU).methods == ["dann", "adda-st"]  # source only lacks a direction
    save_weights(tmp_path / "source-only-mnistm-svhn.safetensors", build("default", 4), small)
    networks = demo_answers.load_networks(CPU)
    assert networks.methods == ["source-only", "dann", "adda-st"]
    assert networks.digits["source-only", "svhn"].classifier.in_features == 16
    (tmp_path / "dann-mnistm-svhn.safetensors").unlink()
    with pytest.raises(InputError, match=r"dann-mnistm-svhn.safetensors is not there"):
        demo_answers.load_networks(CPU)


def test_points_are_the_reports(tmp_path, monkeypatch):
    """The repository's points, and the messages for points that are missing, damaged, or of other weights."""
    for method, target in itertools.product(("dann", "adda-st"), ("mnistm", "svhn")):
        columns, sentence = demo_answers.points(method, target)
        assert [*columns] == ["x", "y", "digit", "predicted", "domain"]
        assert {len(column) for column in columns.values()} == {2000}
        assert {*columns["digit"]} == {*"0123456789"}
        right = sum(map(str.__eq__, columns["digit"], columns["predicted"]))
        assert sum(map(int, re.findall(r"(\d+) of 1000 of (?:SVHN|MNIST-M)", sentence))) == right > 1000

    monkeypatch.setattr(demo_answers, "REPORT", tmp_path)
    columns, sentence = demo_answers.points("dann", "svhn")
    assert (not columns
            and sentence == "tsne_dann-mnistm-svhn.json does not exist; create it with scripts.report.")
    file = tmp_path / "tsne_dann-mnistm-svhn.json"
    content = {"source": "mnistm", "target": "svhn", "weights": "0" * 64, "x": [1.5, -2], "y": [0, 3],
               "digit": [7, 7], "predicted": [7, 1], "is target": [0, 1]}
    file.write_text(json.dumps(content))
    columns, sentence = demo_answers.points("dann", "svhn")
    assert columns == {"x": [1.5, -2], "y": [0, 3], "digit": ["7", "7"], "predicted": ["7", "1"],
                       "domain": ["MNIST-M", "SVHN"]}
    assert "1 of 1 of MNIST-M and 0 of 1 of SVHN" in sentence and "other weights" in sentence
    for damage in ({"target": "usps"}, {"predicted": 3}, {"is target": [0, 2]}):
        file.write_text(json.dumps({**content, **damage}))
        with pytest.raises(InputError, match="damaged"):
            demo_answers.points("dann", "svhn")


# ---- the program

def refused(*arguments):
    said = call("scripts.demo", *arguments, code=2).stderr
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_a_port_in_use_gives_a_one_line_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} (Address already in use)" in refused("--port", port)
    assert "999.1.1.1" in refused("--host", "999.1.1.1") and "--port" in refused("--port", "0")


def test_without_gradio_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install -r requirements-demo.txt" in refused("--port", free_port())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Run the demo in a subprocess; yield its URL. Ctrl-C ends it, leaving no files. No proxy is used."""
    pytest.importorskip("gradio")
    place = tmp_path_factory.mktemp("tmp")
    environment = {**os.environ, "TMPDIR": str(place), "http_proxy": "http://127.0.0.1:9"}
    with subprocess.Popen([sys.executable, "-m", "scripts.demo", "--port", str(free_port())], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
                          env=environment) as process:
        late = threading.Timer(120, process.kill)
        late.start()
        try:
            line = process.stdout.readline()
            assert line.endswith("(stop with Ctrl-C)\n"), process.stderr.read()
            yield line.split()[0]
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=30)
        finally:
            late.cancel()
            process.kill()
    assert (process.returncode, said) == (128 + signal.SIGINT, ("", "")) and not [*place.iterdir()]


def test_the_page_in_a_browser(served, networks, tmp_path):
    """Use all elements of the page; all requests stay on this machine."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium")
    (tmp_path / "mine.png").write_text("no image")
    with playwright.sync_playwright() as driver, contextlib.closing(
            driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(30_000)
        asked, problems = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda problem: problems.append(problem))
        page.goto(served)

        def shown(name):
            source = page.get_by_alt_text(name, exact=True).get_attribute("src")
            return Image.open(io.BytesIO(page.request.get(source).body()))

        def changed(name, act):
            before = page.get_by_alt_text(name, exact=True).get_attribute("src")
            act()
            playwright.expect(page.get_by_alt_text(name, exact=True)).not_to_have_attribute("src", before)
            return shown(name)

        page.wait_for_selector("#tsne svg")
        between, smiling = "A face between the two", "A face with the smile set by the slider"
        for name, *face in (("One face", 0, 0, 0), ("Another face", 1, 1, 0), (between, 0, 1, STEPS // 2)):
            assert np.array_equal(pixels(shown(name)), pixels(demo_answers.face(networks, *face)))
        page.locator("#smile input[type=range]").focus()
        found = changed(smiling, lambda: page.keyboard.press("Home"))
        assert np.array_equal(pixels(found), pixels(demo_answers.smiling_face(networks, 0, -1)))
        page.locator("#walk input[type=range]").focus()
        found = changed(between, lambda: page.keyboard.press("End"))
        assert np.array_equal(pixels(found), pixels(demo_answers.face(networks, 0, 1, STEPS)))
        changed("One face", lambda: page.get_by_role("button", name="Another face").first.click())

        pad = page.locator("#pad canvas")
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        places = [(box["x"] + x * box["width"] / 280, box["y"] + y * box["width"] / 280) for x, y in THREE]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=3)
        page.mouse.up()
        says = page.locator("#says")
        playwright.expect(says).to_contain_text("28 x 28")
        headings = page.get_by_test_id("label-output-value")
        assert headings.all_inner_texts() == ["3"] * len(networks.methods)
        seen = pixels(shown("The digit, 28 x 28"))
        assert seen.min() < 50 and seen.max() == 255 and seen.shape == (140, 140, 3)
        page.screenshot(path=tmp_path / "demo.png", full_page=True)  # report/demo.png was created in this way
        assert pixels(Image.open(tmp_path / "demo.png")).std() > 40
        page.locator("#clear").click()
        playwright.expect(says).to_contain_text("Draw a digit")
        assert pad.evaluate(
            "it => it.getContext('2d').getImageData(0, 0, 280, 280).data.every(x => x == 255)")

        page.set_input_files("input[type=file]", tmp_path / "mine.png")
        playwright.expect(says).to_contain_text("mine.png cannot be read as an image")
        page.locator("#tsne svg .mark-symbol path").nth(5).hover(force=True)
        playwright.expect(page.locator("#vg-tooltip-element")).to_contain_text("predicted")
    elsewhere = [url for url in asked if not url.startswith((served, "data:", "blob:"))]
    assert len(asked) > 10 and not elsewhere and not problems
