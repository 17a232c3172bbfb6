"""Explain errors, including those of Hydra and OmegaConf, in one line."""

import re

import yaml
from omegaconf.errors import OmegaConfBaseException

from fmnist_sweep.config.schema import KEYS
from fmnist_sweep.errors import ConfigError, RunError, nearest

# Patterns in OmegaConf's type errors, each with the value that the user must give instead.
_WRONG_TYPES = {
    r"could not be converted to Integer": "a whole number",
    r"could not be converted to Float": "a number",
    r"could not be converted to Boolean|is not a valid bool": "true or false",
    r"is not a ListConfig": "a list, such as [128,64]",
    r"is not Optional": "given: null is not allowed",
}

_FIGURE = "; a figure's file has no # @package line, and keys such as grids: [{optimizer: [adam, sgd]}]"


def reason(error: BaseException) -> str:
    """Return the message of an error and its causes in one line."""
    chain = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        if isinstance(link, ConfigError | RunError):
            return str(link)
        if isinstance(link, yaml.MarkedYAMLError) and link.problem_mark:
            return f"{link.problem_mark.name}, line {link.problem_mark.line + 1}: not YAML: {link.problem}"
        chain.append(link)
        link = link.__cause__ or link.__context__
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError):
        return f"{error.args[0]}: not found; HYDRA_FULL_ERROR=1 shows where it is used"
    if isinstance(error, UnicodeDecodeError):
        return "a file of options is not UTF-8 text"
    text = str(error)
    # Hydra's error names the override or file. Its cause, an OmegaConf error, says what is wrong with it.
    if file := re.match(r"In '(\S+)': \w+ raised while composing config:\n(.*)", text, re.DOTALL):
        problem = of_omegaconf(file[2])
        group = file[1].split("/")[0]
        if group == "figure":
            return f"In '{file[1]}': {problem.removeprefix('hydra.sweeper.')}{_FIGURE}"
        misplaced = "; a file that sets keys of the first level begins with: # @package _global_"
        return (
            f"In '{file[1]}': {problem.partition(';')[0] + misplaced if problem.startswith(f'{group}:') else problem}"
        )
    if chosen := re.match(r"(In 'figure/\S+': Could not override) '(\S+)@hydra\.sweeper\.(\S+)'", text):
        return f"{chosen[1]} {chosen[2]} from there; write - override /{chosen[2]}@_global_.{chosen[3]}: NAME"
    if options := re.search(r"Available options in [^\n]*\n((?:\t[^\n]*\n?)+)", text):
        return f"{text.splitlines()[0]}; must be one of {', '.join(options[1].split())}"
    if text.startswith("Unsupported item value in defaults"):
        return "a number among the defaults of a file: quote it, as in - override /batch_size: '500'"
    said = [
        of_omegaconf(str(link)) if isinstance(link, OmegaConfBaseException) else str(link).splitlines()[0]
        for link in chain
        if str(link)
    ]
    firsts = list(dict.fromkeys(one.rstrip(".:").removeprefix("Error merging override ") for one in said))
    if not firsts:
        return f"{type(error).__name__}; HYDRA_FULL_ERROR=1 shows where"
    quoted = re.match(r"Could not override '(.+)'", firsts[0])
    key = re.escape(quoted[1] if quoted else firsts[0].partition("=")[0].lstrip("+~"))
    further = [re.sub(rf"^{key}(\[\d+\])?: ", "", one) for one in firsts[1:2]]
    return ": ".join([firsts[0], *(one for one in further if not firsts[0].endswith(one))])


def of_omegaconf(text: str) -> str:
    """Rewrite an OmegaConf message in one line that starts with the key and has no Python terms."""
    first = re.sub(r"^\w+ (raised )?while resolving interpolation: ", "", text.splitlines()[0]).strip('"')
    refers = r"refers to \1, which has no value there" if "while resolving" in text else "is missing"
    if re.search(r"value: hydra\.job\.(num|id)$", first):
        refers += "; a job of a sweep alone has one, so take it in hydra.sweep.subdir"
    first = re.sub(r"^Missing mandatory value: (\S+)", refers, first)
    first = re.sub(r"^Unsupported interpolation type (\w+)", r"there is no resolver \1", first)
    first = re.sub(r"^Environment variable '(\w+)' not found", r"the environment variable \1 is not set", first)
    key = re.search(r"^\s*full_key: (\S+)", text, re.MULTILINE)
    first = re.sub(r"^Cannot merge DictConfig with ListConfig", "must be a mapping, not a list", first)
    if absent := re.match(r"Key '(\w+)' (is )?not in ", first):
        first = f"there is no such key{nearest(key[1] if key else absent[1], KEYS)}"
    for pattern, allowed in _WRONG_TYPES.items():
        if re.search(pattern, first):
            first = f"must be {allowed}"
    return f"{key[1]}: {first}" if key else first
