"""How the page to try a codec and a prior looks, and what its buttons do."""

from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from torch import Tensor

from vqaudio.applications.studio import LONGEST_SECONDS, Shown, Studio, given
from vqaudio.errors import UserError
from vqaudio.evaluation.demo import SENTENCE
from vqaudio.evaluation.report import fragment
from vqaudio.prior.model import Prior

WAITING = 8  # requests in line; one is worked on at a time
KEPT_SOUNDS = 16  # of a visitor, to compare
KEPT_SECONDS = 1800  # what a visitor leaves behind
SECONDS, TEMPERATURE, TOP_P, SEED = 3.0, 1.0, 1.0, 0  # less chance ends in hiss more often

Sounds = dict[str, Tensor]
Work = Callable[[Path], Shown]


def build_page(studio: Studio, title: str) -> gr.Blocks:
    """The page, to be mounted.

    Args:
        studio: what is to be tried.
        title: the models by name.
    """
    with gr.Blocks(
        title="vqaudio", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    ) as page:
        gr.HTML(_head(studio, title))
        sounds = gr.State({}, time_to_live=KEPT_SECONDS)
        first, second = (gr.Dropdown([], label=letter, min_width=280, render=False) for letter in "AB")
        with gr.Tab("A sound"), gr.Row():
            with gr.Column(scale=2, min_width=300):
                sound = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label=f"At most {LONGEST_SECONDS:g} seconds",
                    editable=False,
                    buttons=[],
                    elem_id="sound",
                )
                shipped = gr.Button("Take the sentence that ships", size="sm")
                rates = [(rate.title, number) for number, rate in enumerate(studio.rates)]
                rate = gr.Radio(rates, value=studio.usual, label="Bitrate", elem_classes="rows")
                hear = gr.Button("Encode and decode", variant="primary")
            heard = _answer_column("The codes of the sound, and what they keep of it.", "heard")
        if studio.prior is not None:
            with gr.Tab("New sound"), gr.Row():
                with gr.Column(scale=2, min_width=300):
                    wishes = _wishes(studio.prior)
                    sample = gr.Button("Sample", variant="primary")
                sampled = _answer_column("What the prior writes.", "sampled")
            asked, made = [sound, sounds, *wishes], [sampled, sounds, first, second]
            _on(sample, partial(_sample, studio), asked, made)
        with gr.Tab("Compare"):
            with gr.Row():
                first.render()
                second.render()
            compare = gr.Button("Compare", variant="primary")
            compared = gr.HTML(
                _hint("Two of the sounds that were made, side by side."), elem_id="compared"
            )

        shipped.click(lambda: str(SENTENCE), None, sound, api_visibility="private")
        _on(hear, partial(_hear, studio), [sound, sounds, rate], [heard, sounds, first, second])
        _on(compare, partial(_compare, studio), [sounds, first, second], [compared])
    return page.queue(max_size=WAITING, api_open=False)


def _on(button: gr.Button, work: Callable[..., Any], given: list[Any], made: list[Any]) -> None:
    button.click(work, given, made, api_visibility="private", concurrency_id="work", concurrency_limit=1)


def _answer_column(hint: str, name: str) -> gr.HTML:
    with gr.Column(scale=3, min_width=320):
        return gr.HTML(_hint(hint), elem_id=name)


def _wishes(prior: Prior) -> list[Any]:
    """What can be asked of a prior, in the order of `_sample`."""
    most = round(prior.longest_seconds - 0.05, 1)
    go_on = [("nothing", False), ("the sound on the first page", True)]
    return [
        gr.Radio(go_on, value=False, label="Go on from", elem_classes="rows"),
        gr.Slider(0.5, most, min(SECONDS, most), step=0.1, label="New seconds", buttons=[]),
        gr.Slider(0, 1.5, TEMPERATURE, step=0.05, label="Temperature", buttons=[]),
        gr.Slider(0.05, 1, TOP_P, step=0.05, label="Top-p", buttons=[]),
        gr.Number(SEED, label="Seed", precision=0),
        _names("Label", prior.labels),
        _names("Speaker", prior.speakers),
        gr.Textbox(label="Words to say", visible=prior.config.text_bytes > 0),
    ]


def _names(label: str, names: list[str]) -> gr.Dropdown:
    choices = [("any", ""), *((name, name) for name in names)]
    return gr.Dropdown(choices, value="", label=label, visible=bool(names))


def _hear(studio: Studio, path: str | None, before: Sounds, rate: int) -> list[Any]:
    return _shelved(before, lambda folder: studio.hear(path, studio.rates[rate], folder))


def _sample(
    studio: Studio,
    path: str | None,
    before: Sounds,
    go_on: bool,
    seconds: float,
    temperature: float,
    top_p: float,
    seed: int | None,
    label: str,
    speaker: str,
    text: str,
) -> list[Any]:
    def work(folder: Path) -> Shown:
        return studio.write(
            seconds,
            given(path) if go_on else None,
            folder,
            seed=seed or 0,
            temperature=temperature,
            top_p=top_p,
            label=label or None,
            speaker=speaker or None,
            text=text or None,
        )

    return _shelved(before, work)


def _compare(studio: Studio, sounds: Sounds, first: str | None, second: str | None) -> str:
    return _answer(lambda folder: studio.compare(sounds, first, second, folder))[0]


def _shelved(before: Sounds, work: Work) -> list[Any]:
    """The answer; the sounds to compare, the newest of them; and the two lists to choose from."""
    html, new = _answer(work)
    if not new:
        return [html, before, gr.update(), gr.update()]
    older = {title: audio for title, audio in before.items() if title not in new}
    sounds = dict(list({**older, **new}.items())[-KEPT_SOUNDS:])
    titles = list(sounds)
    return [html, sounds, *(gr.update(choices=titles, value=titles[place]) for place in (0, -1))]


def _answer(work: Work) -> tuple[str, Sounds]:
    try:
        with TemporaryDirectory() as folder:
            shown = work(Path(folder))
            return fragment(shown.parts), shown.sounds
    except UserError as error:
        return f'<p class="fault" role="alert">{escape(str(error))}</p>', {}


def _head(studio: Studio, title: str) -> str:
    codec = studio.codec
    facts = f"{codec.sample_rate / 1000:g} kHz, {len(codec.hops)} levels, {codec.bitrate:g} bit/s"
    return (
        f"<header><h1>vqaudio</h1><p>{escape(title)}: {facts}. "
        "Nothing leaves the machine that shows this page.</p></header>"
    )


def _hint(text: str) -> str:
    return f'<p class="hint">{escape(text)}</p>'


STYLE = """
.gradio-container { background: var(--paper) !important; color: var(--ink); }
.gradio-container main { width: 100%; max-width: 68rem !important; margin: 0 auto !important; }
header h1 { font-size: 1.8rem; line-height: 1.2; margin: 0.5rem 0 0.25rem; letter-spacing: -0.01em; }
header p, .hint { color: var(--soft); margin: 0; }
.hint { padding: 3rem 1rem; text-align: center; border: 1px dashed var(--line); border-radius: 10px; }
.fault { padding: 0.75rem 1rem; border-left: 4px solid #d9534f; background: var(--card);
  overflow-wrap: anywhere; }
.rows .wrap { flex-direction: column; align-items: stretch; gap: 0; }
.rows label, .rows label:hover { background: none !important; border: 0; padding: 0.3rem 0;
  font-weight: 400; }
input[role="listbox"] { text-overflow: ellipsis; padding-right: 1.75rem !important; }
#heard .players { grid-template-columns: 1fr; gap: 0.5rem; }
#compared .players { grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); }
@media (min-width: 30rem) {
  #heard .players figure { flex-direction: row; align-items: center; gap: 1rem; }
  #heard .players figcaption { flex: 1; }
  #heard .players audio { flex: 1.5; }
}
footer { display: none !important; }
"""
