"""An interactive demo of the released networks: `python -m scripts.demo`, then open the URL that it prints.

The page shows faces generated from noise and an interpolation between two of them, a face with a slider for
the smile, the predictions for a digit that is drawn or uploaded, and the t-SNE of test features. It works
offline: it makes no requests to other servers. It needs `pip install -r requirements-demo.txt`.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from common.cli import InputError, Parser, run_main, whole
from common.device import choose_device
from common.domains import DOMAINS, TITLES, other
from common.tsne import COLOURS
from scripts import demo_answers
from scripts.demo_answers import METHODS, STEPS, Networks

SEEDS = 10_000  # number of seeds from which "Another face" chooses
FIRST = "mnistm"  # the initial target domain
LARGEST = "20mb"  # maximum size of an upload
NOTHING = "Draw a digit in the white square, or upload a picture of one."
SEEN = "This is the input of the networks, 28 x 28 pixels."

# Gradio's own drawing component requires selecting a tool first, and WebGL
PAD = '<canvas width="280" height="280" aria-label="Draw a digit here"></canvas>'
PAD_STYLE = """
canvas { width: 100%; max-width: 280px; margin: auto; display: block; background: white;
         border: 1px solid #999; border-radius: 4px; touch-action: none; cursor: crosshair; }
"""
PAD_SCRIPT = """
const canvas = element.querySelector("canvas"), pen = canvas.getContext("2d");
const clear = () => { pen.fillStyle = "white"; pen.fillRect(0, 0, 280, 280); };
const lineTo = event => {
    const box = canvas.getBoundingClientRect(), scale = 280 / box.width;
    pen.lineTo((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
    pen.stroke();
};
let drawing = false;
clear();
pen.lineWidth = 24;
pen.lineCap = pen.lineJoin = "round";
canvas.onpointerdown = event => {
    drawing = true;
    canvas.setPointerCapture(event.pointerId);
    pen.beginPath();
    lineTo(event);
    lineTo(event);  // a dot, where the pointer does not move
};
canvas.onpointermove = event => { if (drawing) lineTo(event); };
canvas.onpointerup = canvas.onpointercancel = () => {
    if (!drawing) return;
    drawing = false;
    props.value = canvas.toDataURL();
    trigger("drawn");
};
watch("value", () => { if (!props.value) clear(); });
"""
STYLE = """
.gradio-container { max-width: 1280px !important; margin: auto; }
.seed label { display: flex; align-items: center; gap: 12px; }
.seed label > span { margin: 0; }
/* t-SNE coordinates have no meaning */
#tsne .role-axis, #vg-tooltip-element tr:nth-child(-n + 2) { display: none; }
.dark #tsne [stroke="#000000"] { stroke: white; }
"""


def page(networks: Networks) -> Any:
    """Build the page as Gradio Blocks, without serving it."""
    import gradio as gr

    with gr.Blocks(title="Faces and digits", analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row():
            walk_part(gr, networks)
            smile_part(gr, networks)
        with gr.Row():
            with gr.Column(scale=3, min_width=200):
                gr.Markdown("### Digits across domains\nThe networks were trained on labelled images of the "
                            "source domain and unlabelled images of the target domain (source → target).")
            with gr.Column(scale=2, min_width=300):
                directions = [(f"{TITLES[other(domain)]} → {TITLES[domain]}", domain) for domain in DOMAINS]
                target = gr.Radio(directions, value=FIRST, label="Direction", show_label=False,
                                  container=False, elem_id="target")
        with gr.Row():
            digit_part(gr, networks, target)
            points_part(gr, networks, target)
    return blocks


def walk_part(gr: ModuleType, networks: Networks) -> None:
    """The faces of two seeds, and an interpolation between them."""
    def between(first: int, second: int, step: int) -> Image.Image:
        return demo_answers.face(networks, first, second, step)

    def of(seed: int) -> Image.Image:
        return between(seed, seed, 0)

    with gr.Column(scale=3):
        gr.Markdown("### DCGAN: faces from noise, and interpolation")
        with gr.Row():
            with gr.Column(min_width=180):
                left, first = face_box(gr, of(0), "One face"), seed_row(gr, 0)
            with gr.Column(min_width=180):
                middle = face_box(gr, between(0, 1, STEPS // 2), "A face between the two")
                step = gr.Slider(0, STEPS, STEPS // 2, step=1, label="Walk", elem_id="walk")
            with gr.Column(min_width=180):
                right, second = face_box(gr, of(1), "Another face"), seed_row(gr, 1)
        gr.Markdown("Each seed determines a noise vector of 101 numbers, from which the face is generated. "
                    "The interpolation between two noise vectors is spherical.")
    listen(gr, [first], of, left)
    listen(gr, [second], of, right)
    listen(gr, [first, second, step], between, middle)


def smile_part(gr: ModuleType, networks: Networks) -> None:
    """The face of one seed, with a slider for the smile."""
    def smiling(seed: int, smile: float) -> Image.Image:
        return demo_answers.smiling_face(networks, seed, smile)

    with gr.Column(scale=1, min_width=180):
        gr.Markdown("### ACGAN: a smile")
        shown = face_box(gr, smiling(0, 1), "A face with the smile set by the slider")
        smile, seed = gr.Slider(-1, 1, 1, step=0.05, label="Smile", elem_id="smile"), seed_row(gr, 0)
    listen(gr, [seed, smile], smiling, shown)


def face_box(gr: ModuleType, value: Image.Image, alternative: str) -> Any:
    return gr.Image(value, alt_text=alternative, show_label=False, format="png", interactive=False,
                    buttons=[], height=200)


def seed_row(gr: ModuleType, value: int) -> Any:
    """A field for the seed, and a button that draws a random one."""
    with gr.Row(equal_height=True):
        seed = gr.Number(value, label="Seed", precision=0, minimum=0, maximum=2**53, min_width=80,
                         elem_classes="seed")
        button = gr.Button("Another face", size="sm", min_width=80)
    button.click(lambda: random.randrange(SEEDS), None, seed, show_progress="hidden")
    return seed


def listen(gr: ModuleType, inputs: list[Any], answer: Any, output: Any) -> None:
    """Update the output whenever an input changes. While a field is empty, the last output stays."""
    def answered(*values: Any) -> Any:
        return gr.skip() if None in values else answer(*values)

    # always_last drops intermediate values of a slider that come too fast, but not the final one
    gr.on([each.change for each in inputs], answered, inputs, output, show_progress="hidden",
          trigger_mode="always_last")


def digit_part(gr: ModuleType, networks: Networks, target: Any) -> None:
    """A digit, drawn or uploaded, and the predictions of each method."""
    with gr.Column(scale=2, min_width=200):
        pad = gr.HTML("", html_template=PAD, css_template=PAD_STYLE, js_on_load=PAD_SCRIPT, elem_id="pad")
        with gr.Row():
            clear = gr.Button("Clear", size="sm", min_width=60, elem_id="clear")
            upload = gr.UploadButton("Upload", size="sm", min_width=60, elem_id="upload")
    with gr.Column(scale=4, min_width=300):
        with gr.Row():
            labels = [gr.Label(label=METHODS[method], num_top_classes=3, min_width=120)
                      for method in networks.methods]
        with gr.Row():
            seen = gr.Image(show_label=False, alt_text="The digit, 28 x 28", format="png", interactive=False,
                            buttons=[], height=140, min_width=140)
            with gr.Column(min_width=140):
                says = gr.Markdown(NOTHING, elem_id="says")
                if "source-only" not in networks.methods:
                    gr.Markdown("Source only (no adaptation) is not shown, "
                                "since no weights are released for it.")
    image = gr.State()

    def answers(image: Tensor | None, target: str, sentence: str = NOTHING) -> list[Any]:
        if image is None:
            return [None, None, sentence, *(None for _ in labels)]
        found = demo_answers.probabilities(networks, image, target)
        return [image, demo_answers.enlarged(image, 5, Image.Resampling.NEAREST), SEEN, *found.values()]

    def drawn(url: str, target: str) -> list[Any]:
        return answers(demo_answers.drawn_digit(url), target)

    def uploaded(path: str, target: str) -> list[Any]:
        try:
            return ["", *answers(demo_answers.read_digit(Path(path)), target)]
        except InputError as problem:
            return ["", *answers(None, target, f"{problem}.")]

    outputs = [image, seen, says, *labels]
    pad.drawn(drawn, [pad, target], outputs, show_progress="hidden")
    upload.upload(uploaded, [upload, target], [pad, *outputs], show_progress="hidden")
    clear.click(lambda: ["", *answers(None, "")], None, [pad, *outputs], show_progress="hidden")
    target.change(answers, [image, target], outputs, show_progress="hidden")


def points_part(gr: ModuleType, networks: Networks, target: Any) -> None:
    """The t-SNE of the test features of a method."""
    import pandas

    def plotted(method: str, target: str, colour: str) -> tuple[Any, str]:
        columns, sentence = demo_answers.points(method, target)
        groups = [TITLES[domain] for domain in DOMAINS] if colour == "domain" else list(map(str, range(10)))
        limits = {f"{axis}_lim": [min(columns[axis]) - 2, max(columns[axis]) + 2] for axis in "xy" if columns}
        return gr.ScatterPlot(
            pandas.DataFrame(columns) if columns else None, x="x", y="y", x_title="", y_title="", **limits,
            color=colour, color_map=dict(zip(groups, COLOURS, strict=False)), colors_in_legend=groups,
            tooltip=["digit", "predicted", "domain"], height=310, buttons=[], elem_id="tsne"), sentence

    methods = [method for method in networks.methods if method != "source-only"]
    with gr.Column(scale=5, min_width=300):
        with gr.Row():
            method = gr.Dropdown([(METHODS[method], method) for method in methods], value=methods[0],
                                 filterable=False, label="t-SNE of the features of", min_width=140)
            colour = gr.Dropdown(["digit", "predicted", "domain"], value="digit", filterable=False,
                                 label="coloured by", min_width=140)
        plot, sentence = plotted(methods[0], FIRST, "digit")
        says = gr.Markdown(sentence)
    gr.on([method.change, target.change, colour.change], plotted, [method, target, colour], [plot, says],
          show_progress="hidden")


def check_free(host: str, port: int) -> None:
    """Raises InputError if the page cannot be served at that address."""
    try:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the page's server does
            server.bind((host, port))
    except OSError as problem:
        raise InputError(f"the page cannot be served at {host}:{port} ({problem.strerror or problem}); "
                         "choose another --port or --host") from None


def import_gradio() -> ModuleType:
    """Import Gradio with analytics disabled. Raises InputError if it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio requests its own page to check that it is up
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    os.environ["MPLBACKEND"] = "agg"  # otherwise Gradio imports all of matplotlib before its first response
    try:
        import gradio
    except ModuleNotFoundError as problem:
        if problem.name != "gradio":
            raise
        raise InputError("the demo needs Gradio: pip install -r requirements-demo.txt") from None
    return gradio


def main() -> None:
    parser = Parser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--port", type=whole(1, 65535), default=7860, help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to listen on; 0.0.0.0 accepts connections from other machines")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    check_free(args.host, args.port)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # pictures and uploads, deleted when the program ends
        gr = import_gradio()
        device = choose_device(args.device)
        torch.set_num_threads(1)  # for single images, more threads bring little but synchronisation overhead
        blocks = page(demo_answers.load_networks(device))
        # system fonts: the fonts that come with Gradio lack bold styles
        theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
        try:
            blocks.launch(server_name=args.host, server_port=args.port, share=False, prevent_thread_lock=True,
                          quiet=True, ssr_mode=False, footer_links=[], max_file_size=LARGEST, theme=theme,
                          css=STYLE)
            print(f"http://{args.host}:{args.port} (stop with Ctrl-C)", flush=True)
            threading.Event().wait()
        finally:
            blocks.close(verbose=False)


if __name__ == "__main__":
    run_main(main)
