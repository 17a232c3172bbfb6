"""What a reader sees in figures: texts in English and Spanish, and one colour and line style for each thing.

Colours are from Okabe and Ito's palette (Color Universal Design, 2008) and Paul Tol's muted scheme, both made
for colour-blind readers. Whatever a colour tells is told by a line style or a marker too, for print in grey.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

Language = Literal["en", "es"]
LANGUAGES: tuple[Language, ...] = ("en", "es")

_TEXTS: dict[str, tuple[str, str]] = {
    "accuracy": ("Accuracy (fraction)", "Precisión (fracción)"),
    "adam": ("Adam", "Adam"),
    "band": ("Line: mean of seeds; band: min to max", "Línea: media de semillas; banda: mín a máx"),
    "batch_size": ("Batch size", "Tamaño del lote"),
    "batch_size_value": ("batch {value}", "lote {value}"),
    "class_accuracy": ("Recognised (fraction)", "Reconocidos (fracción)"),
    "confusion": ("Predictions for each class (%)", "Predicciones para cada clase (%)"),
    "dropout": ("Dropout", "Dropout"),
    "dropout_value": ("dropout {value:g}", "dropout {value:g}"),
    "epoch": ("Epoch", "Época"),
    "epochs": ("Epochs", "Épocas"),
    "epochs_value": ("{value} epochs", "{value} épocas"),
    "gap": ("Training minus validation accuracy", "Precisión de entrenamiento menos validación"),
    "hidden": ("Hidden widths", "Capas ocultas"),
    "hidden_value": ("hidden {value}", "ocultas {value}"),
    "interval": (
        "Bar: 95 % t interval of the mean; faint: each seed",
        "Barra: intervalo t del 95 % de la media; tenue: cada semilla",
    ),
    "loss": ("Loss (nats)", "Pérdida (nats)"),
    "main_interval": (
        "Mean over all other factors; bar: 95 % t interval over seeds",
        "Media sobre los demás factores; barra: intervalo t del 95 % entre semillas",
    ),
    "mistakes": (
        "True class → predicted class (number of images)",
        "Clase verdadera → clase predicha (número de imágenes)",
    ),
    "mistake": ("{true} →\n{predicted} ({n})", "{true} →\n{predicted} ({n})"),
    "more": ("{n} more not drawn", "{n} más sin dibujar"),
    "no_mistakes": ("no mistakes", "sin errores"),
    "no_runs": ("no runs", "sin corridas"),
    "optimizer": ("Optimizer", "Optimizador"),
    "optimizer_value": ("{value}", "{value}"),
    "pixel_mean": ("Pixel mean", "Media de píxeles"),
    "pixel_mean_value": ("pixel mean {value:g}", "media de píxeles {value:g}"),
    "pixel_std": ("Pixel scale", "Escala de píxeles"),
    "pixel_std_value": ("pixel scale {value:g}", "escala de píxeles {value:g}"),
    "predicted": ("Predicted class", "Clase predicha"),
    "quote": ("Paper: {name}", "Artículo: {name}"),
    "quote_above": ("Paper: above this", "Artículo: superior a este"),
    "quote_either": ("Paper: curve not named", "Artículo: curva sin nombrar"),
    "reached": (
        "To a validation accuracy of {accuracy:g}",
        "Hasta una precisión de validación de {accuracy:g}",
    ),
    "reached_by": (" ({n} of {of} seeds)", " ({n} de {of} semillas)"),
    "reached_epoch": ("Epochs", "Épocas"),
    "reached_seconds": ("Training time (s)", "Entrenamiento (s)"),
    "seed": ("{n} seed", "{n} semilla"),
    "seeds": ("{n} seeds", "{n} semillas"),
    "sgd": ("SGD", "SGD"),
    "train": ("training", "entrenamiento"),
    "true": ("True class", "Clase verdadera"),
    "unfinished": ("{done} of {epochs} epochs", "{done} de {epochs} épocas"),
    "val": ("validation", "validación"),
    "val_accuracy": ("Validation accuracy (fraction)", "Precisión de validación (fracción)"),
    "val_loss": ("Validation loss (nats)", "Pérdida de validación (nats)"),
    "validation": ("Validated on", "Validado en"),
    "validation_value": ("validated on {value}", "validado en {value}"),
}

_CLASS_NAMES_ES = (
    "Camiseta",
    "Pantalón",
    "Pulóver",
    "Vestido",
    "Abrigo",
    "Sandalia",
    "Camisa",
    "Zapatilla",
    "Bolso",
    "Botín",
)


class Style(NamedTuple):
    """How one thing is drawn: a colour, a matplotlib line style and a matplotlib marker."""

    colour: str
    line: Any
    marker: str


_DASHED = (0, (4, 1.5))
_DOTTED = (0, (1, 1.2))
_DASHDOT = (0, (5, 1.5, 1, 1.5))

TRAINING = Style("#0072B2", "-", "o")
VALIDATION = Style("#D55E00", _DASHED, "s")
CURVES = {"train": TRAINING, "val": VALIDATION}
NEUTRAL = Style("#000000", "-", "D")

_KNOWN: dict[str, dict[Any, Style]] = {
    "optimizer": {"adam": Style("#009E73", "-", "o"), "sgd": Style("#CC79A7", _DASHED, "s")},
    "batch_size": {
        100: Style("#56B4E9", "-", "o"),
        500: Style("#E69F00", _DASHED, "s"),
        1000: Style("#000000", _DOTTED, "^"),
    },
    "dropout": {0.05: Style("#882255", _DASHED, "s"), 0.2: Style("#999933", "-", "o")},
    "epochs": {30: Style("#888888", "-", "o"), 100: Style("#332288", _DASHED, "s")},
}
_OTHERS = [
    Style(colour, line, marker)
    for (line, marker) in ((_DASHDOT, "v"), ("-", "P"), (_DASHED, "X"), (_DOTTED, "<"))
    for colour in ("#117733", "#AA4499", "#661100", "#44AA99", "#CC6677")
]


def text(key: str, language: Language, **values: object) -> str:
    """The text `key` in a language, its fields filled with `values`."""
    return _TEXTS[key][LANGUAGES.index(language)].format(**values)


def level(factor: str, value: Any, language: Language) -> str:
    """One level of a factor in words, as `batch 100` or `SGD`."""
    if factor == "optimizer":
        name, _, arguments = str(value).partition(" ")
        value = " ".join(filter(None, (text(name, language) if name in ("adam", "sgd") else name, arguments)))
    return text(f"{factor}_value", language, value=value)


def configuration(values: Mapping[str, Any], factors: Iterable[str], language: Language) -> str:
    """A configuration in words: its level of each of `factors`, with commas."""
    return ", ".join(level(factor, values[factor], language) for factor in factors)


def sentence(words: str) -> str:
    """`words` with a capital first letter."""
    return words[:1].upper() + words[1:]


def styles(factor: str, levels: Iterable[Any]) -> dict[Any, Style]:
    """The style of each level of a factor; the paper's own levels look the same wherever they occur.

    Args:
        factor: a column of the configuration.
        levels: all levels that occur in the store, so that a level keeps its style from figure to figure.
    """
    known = _KNOWN.get(factor, {})
    others = sorted(set(levels) - known.keys())
    return known | {value: _OTHERS[i % len(_OTHERS)] for i, value in enumerate(others)}


def class_names(language: Language) -> tuple[str, ...]:
    """The ten classes by index."""
    if language == "es":
        return _CLASS_NAMES_ES
    from fmnist_sweep.data import CLASS_NAMES

    return CLASS_NAMES
