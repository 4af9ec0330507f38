"""A page to play with the released networks: `python -m scripts.demo`, then open the address that it prints.

Faces from noise and a walk between two; one noise vector and its smile; a digit, drawn or uploaded, and what each
method's network takes it for; the t-SNE of test features, to hover over. The page works offline: it loads nothing from
elsewhere and sends nothing away. It needs `pip install -r requirements-demo.txt`.
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

SEEDS = 10_000  # that "Another face" chooses from
FIRST = "mnistm"  # the target domain that the page begins with
LARGEST = "20mb"  # of an upload
NOTHING = "Draw a digit in the white square, or upload a picture of one."
SEEN = "This is what the networks see, 28 x 28 pixels."

# Gradio's own drawing component asks for a tool first, and needs WebGL
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
/* coordinates, which say nothing */
#tsne .role-axis, #vg-tooltip-element tr:nth-child(-n + 2) { display: none; }
.dark #tsne [stroke="#000000"] { stroke: white; }
"""


def page(networks: Networks) -> Any:
    """The page as Gradio's Blocks, not yet served."""
    import gradio as gr

    with gr.Blocks(title="Faces and digits", analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row():
            walk_part(gr, networks)
            smile_part(gr, networks)
        with gr.Row():
            with gr.Column(scale=3, min_width=200):
                gr.Markdown("### Digits across domains\nThe networks learned from labelled images of the first domain "
                            "and unlabelled images of the second, for which they are made.")
            with gr.Column(scale=2, min_width=300):
                directions = [(f"{TITLES[other(domain)]} → {TITLES[domain]}", domain) for domain in DOMAINS]
                target = gr.Radio(directions, value=FIRST, label="Direction", show_label=False,
                                  container=False, elem_id="target")
        with gr.Row():
            digit_part(gr, networks, target)
            points_part(gr, networks, target)
    return blocks


def walk_part(gr: ModuleType, networks: Networks) -> None:
    """Two seeds' faces, and the walk between them."""
    def between(first: int, second: int, step: int) -> Image.Image:
        return demo_answers.face(networks, first, second, step)

    def of(seed: int) -> Image.Image:
        return between(seed, seed, 0)

    with gr.Column(scale=3):
        gr.Markdown("### DCGAN: faces from noise, and a walk between two")
        with gr.Row():
            with gr.Column(min_width=180):
                left, first = face_box(gr, of(0), "One face"), seed_row(gr, 0)
            with gr.Column(min_width=180):
                middle = face_box(gr, between(0, 1, STEPS // 2), "A face between the two")
                step = gr.Slider(0, STEPS, STEPS // 2, step=1, label="Walk", elem_id="walk")
            with gr.Column(min_width=180):
                right, second = face_box(gr, of(1), "Another face"), seed_row(gr, 1)
        gr.Markdown("Each seed gives 101 random numbers, and they give a face. The walk leads along the arc from one "
                    "seed's numbers to the other's.")
    listen(gr, [first], of, left)
    listen(gr, [second], of, right)
    listen(gr, [first, second, step], between, middle)


def smile_part(gr: ModuleType, networks: Networks) -> None:
    """One noise vector, and a slider of the smile."""
    def smiling(seed: int, smile: float) -> Image.Image:
        return demo_answers.smiling_face(networks, seed, smile)

    with gr.Column(scale=1, min_width=180):
        gr.Markdown("### ACGAN: a smile")
        shown = face_box(gr, smiling(0, 1), "A face that smiles as the slider says")
        smile, seed = gr.Slider(-1, 1, 1, step=0.05, label="Smile", elem_id="smile"), seed_row(gr, 0)
    listen(gr, [seed, smile], smiling, shown)


def face_box(gr: ModuleType, value: Image.Image, alternative: str) -> Any:
    return gr.Image(value, alt_text=alternative, show_label=False, format="png", interactive=False,
                    buttons=[], height=200)


def seed_row(gr: ModuleType, value: int) -> Any:
    """The number of a seed, and a button that draws another."""
    with gr.Row(equal_height=True):
        seed = gr.Number(value, label="Seed", precision=0, minimum=0, maximum=2**53, min_width=80,
                         elem_classes="seed")
        button = gr.Button("Another face", size="sm", min_width=80)
    button.click(lambda: random.randrange(SEEDS), None, seed, show_progress="hidden")
    return seed


def listen(gr: ModuleType, inputs: list[Any], answer: Any, output: Any) -> None:
    """Show the answer to the inputs' values whenever one changes, and the last one as long as a field is empty."""
    def answered(*values: Any) -> Any:
        return gr.skip() if None in values else answer(*values)

    # of the values that a slider passes through, those that come too fast are left out, but never the last
    gr.on([each.change for each in inputs], answered, inputs, output, show_progress="hidden",
          trigger_mode="always_last")


def digit_part(gr: ModuleType, networks: Networks, target: Any) -> None:
    """A digit, and what each method's network takes it for."""
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
                    gr.Markdown("Source only, without adaptation, is left out: no weights of it are released.")
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
    """t-SNE of a method's test features."""
    import pandas

    def plotted(method: str, target: str, colour: str) -> tuple[Any, str]:
        columns, sentence = demo_answers.points(method, target)
        groups = [TITLES[domain] for domain in DOMAINS] if colour == "domain" else list(map(str, range(10)))
        limits = {f"{axis}_lim": [min(columns[axis]) - 2, max(columns[axis]) + 2] for axis in "xy" if columns}
        return gr.ScatterPlot(
            pandas.DataFrame(columns) if columns else None, x="x", y="y", x_title="", y_title="", **limits,
            color=colour, color_map=dict(zip(groups, COLOURS, strict=False)), colors_in_legend=groups,
            tooltip=["digit", "taken for", "domain"], height=310, buttons=[], elem_id="tsne"), sentence

    methods = [method for method in networks.methods if method != "source-only"]
    with gr.Column(scale=5, min_width=300):
        with gr.Row():
            method = gr.Dropdown([(METHODS[method], method) for method in methods], value=methods[0],
                                 filterable=False, label="t-SNE of the features of", min_width=140)
            colour = gr.Dropdown(["digit", "taken for", "domain"], value="digit", filterable=False,
                                 label="coloured by", min_width=140)
        plot, sentence = plotted(methods[0], FIRST, "digit")
        says = gr.Markdown(sentence)
    gr.on([method.change, target.change, colour.change], plotted, [method, target, colour], [plot, says],
          show_progress="hidden")


def check_free(host: str, port: int) -> None:
    """InputError where nothing can be served at that address."""
    try:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the page's server does
            server.bind((host, port))
    except OSError as problem:
        raise InputError(f"the page cannot be served at {host}:{port} ({problem.strerror or problem}); "
                         "choose another --port or --host") from None


def import_gradio() -> ModuleType:
    """Gradio, that sends nothing away. InputError where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # it asks its own page whether it is up
    os.environ["MPLBACKEND"] = "agg"  # else Gradio's first answer waits until all of matplotlib is imported
    try:
        import gradio
    except ModuleNotFoundError as problem:
        if problem.name != "gradio":
            raise
        raise InputError("the demo needs Gradio: pip install -r requirements-demo.txt") from None
    return gradio


def main() -> None:
    parser = Parser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--port", type=whole(1, 65535), default=7860, help="port to serve the page at")
    parser.add_argument("--host", default="127.0.0.1",
                        help="address to serve it at; 0.0.0.0 lets other machines in")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    check_free(args.host, args.port)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # pictures and uploads, which go when the program ends
        gr = import_gradio()
        device = choose_device(args.device)
        torch.set_num_threads(1)  # for one image at a time, more threads mostly wait for each other
        blocks = page(demo_answers.load_networks(device))
        # the system's fonts: Gradio's own lack the bold ones
        theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
        try:
            blocks.launch(server_name=args.host, server_port=args.port, share=False, prevent_thread_lock=True,
                          quiet=True, ssr_mode=False, footer_links=[], max_file_size=LARGEST, theme=theme,
                          css=STYLE)
            print(f"http://{args.host}:{args.port} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        finally:
            blocks.close(verbose=False)


if __name__ == "__main__":
    run_main(main)
