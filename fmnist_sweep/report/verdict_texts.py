"""The sentence that explains a verdict, in each language."""

from __future__ import annotations

from collections.abc import Mapping

# Keys of SENTENCES are the case, then the verdict's first word where the sentence depends on it.
SENTENCES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "none": "No seed to judge by ({needs})",
        "single value reproduced": "The only seed gives {mean}, inside {expected}; one seed has no interval",
        "single value not": "The only seed gives {mean}, outside {expected}; one seed has no interval",
        "single": "One seed gives {mean}; to judge whether {expected} takes at least two",
        "same reproduced": "All {n} seeds give {mean}: {expected} holds",
        "same not": "All {n} seeds give {mean}: {expected} does not hold",
        "value reproduced": "The interval over {n} seeds, {low} to {high}, lies wholly inside {expected}",
        "value not": "The interval over {n} seeds, {low} to {high}, lies wholly outside {expected}",
        "value inconclusive": "The interval over {n} seeds, {low} to {high}, crosses the edge of {expected}",
        "test reproduced": "On average {mean} over {n} seeds: {expected} holds (corrected p {p})",
        "test not": "On average {mean} over {n} seeds: {expected} does not hold (corrected p {p})",
        "test inconclusive": "On average {mean} over {n} seeds: {expected} stays open (corrected p {p})",
        "diverged": "diverged",
        "unfinished": "unfinished",
        "unpaired": "on one side only",
        "never": "not reached on either side",
        "left out": "left out: seed {seed}, {cause}",
    },
    "es": {
        "none": "No hay semillas con que juzgar ({needs})",
        "single value reproduced": "La única semilla da {mean}, dentro de {expected}; no hay intervalo",
        "single value not": "La única semilla da {mean}, fuera de {expected}; no hay intervalo",
        "single": "Una semilla da {mean}; para juzgar si {expected} hacen falta al menos dos",
        "same reproduced": "Las {n} semillas dan {mean}: se cumple {expected}",
        "same not": "Las {n} semillas dan {mean}: no se cumple {expected}",
        "value reproduced": "El intervalo de {n} semillas, {low} a {high}, queda todo dentro de {expected}",
        "value not": "El intervalo de {n} semillas, {low} a {high}, queda todo fuera de {expected}",
        "value inconclusive": "El intervalo de {n} semillas, {low} a {high}, cruza el borde de {expected}",
        "test reproduced": "En promedio {mean} en {n} semillas: se cumple {expected} (p corregido {p})",
        "test not": "En promedio {mean} en {n} semillas: no se cumple {expected} (p corregido {p})",
        "test inconclusive": "En promedio {mean} en {n} semillas: {expected} queda abierto (p corregido {p})",
        "diverged": "divergió",
        "unfinished": "sin terminar",
        "unpaired": "solo de un lado",
        "never": "no se alcanza de ningún lado",
        "left out": "sin contar: semilla {seed}, {cause}",
    },
}


def sentence(language: str, key: str, left_out: Mapping[int, str], **values: str | int) -> str:
    """One of `SENTENCES`, with the seeds that were left out and the cause of each."""
    texts = SENTENCES[language]
    notes = [texts["left out"].format(seed=seed, cause=texts[cause]) for seed, cause in sorted(left_out.items())]
    return "; ".join([texts[key].format(**values), *notes]) + "."
