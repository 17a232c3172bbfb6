"""The texts of the report: the same in every language, and one for everything that a store or a paper may hold."""

import string
from typing import get_args

import pytest

from fmnist_sweep.data import CLASS_NAMES
from fmnist_sweep.engine.metrics import GAPS, MEASURES
from fmnist_sweep.papers import reductions
from fmnist_sweep.papers.verdicts import VERDICTS
from fmnist_sweep.report import texts
from fmnist_sweep.store import layout
from fmnist_sweep.store.tables import FACTORS


def fields(language):
    """Return the fields of each text, with their formats."""
    content = texts._read(language)
    flat = {
        f"{section}.{key}": text
        for section, part in content.items()
        if isinstance(part, dict)
        for key, text in part.items()
    }
    return {
        key: {(field, form) for _, field, form, _ in string.Formatter().parse(text) if field}
        for key, text in flat.items()
    }


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_languages_have_the_same_texts_with_the_same_fields(language):
    assert fields(language) == fields(texts.LANGUAGES[0])
    own, first = texts.Texts(language), texts.Texts(texts.LANGUAGES[0])
    assert len(own.classes) == len(CLASS_NAMES)
    assert len(own.definitions) == len(first.definitions)


def test_whatever_a_store_or_a_paper_holds_has_a_name():
    measures = [*MEASURES, *GAPS]
    named = [*measures, *VERDICTS, *get_args(layout.Status), *(f"reduce_{name}" for name in reductions.KINDS)]
    named += ["unreadable", "foreign", "superseded", "waiting"]
    wanted = {f"page.{name}" for name in named} | {f"{part}.{key}" for part in ("factors", "levels") for key in FACTORS}
    assert wanted <= set(fields("en"))
