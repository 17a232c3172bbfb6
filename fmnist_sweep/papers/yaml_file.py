"""Read untrusted YAML as plain data and check it.

A file cannot run code, because tags produce only plain data. It cannot fill the memory either: the size of the file is
limited, and so is the size of its content once aliases and `each` are expanded. Nothing here protects against a person
who can change the files while they are read.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from fmnist_sweep import files
from fmnist_sweep.errors import ConfigError, first_problem, nearest

_LARGEST = 1 << 20  # characters
_NAME = re.compile(r"\{(\w+)\}")


class Plain(BaseModel):
    """A mapping in a file. Values are never converted to another type, and unknown keys are refused.

    The docstrings of its fields are the format's reference (`reference.py`). Their examples also end error messages.
    """

    model_config = ConfigDict(
        strict=True, allow_inf_nan=False, frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, values: Any) -> Any:
        allowed = ", ".join(cls.model_fields)
        if not isinstance(values, dict):
            raise ValueError(f"must be a mapping, of keys from {allowed}, not {values!s:.60}")
        for key in values:
            if key not in cls.model_fields:
                near = nearest(str(key), cls.model_fields)
                raise ValueError(f"there is no key {key!s:.60}{near}; allowed: {allowed}")
        return values


class _Number(float):
    """A number from `each`, which a text shows with the digits that the file has."""

    written: str


class _Whole(int):
    """A whole number of this kind."""

    written: str


Written = BeforeValidator(lambda value: value.written if isinstance(value, _Number | _Whole) else value)
"""Marks a text, in which a number from `each` stands as written."""

T = TypeVar("T", bound=Plain)


def load(path: Path, kind: type[T]) -> T:
    """Load a YAML file and check it; `ConfigError` describes a mistake in one line, without naming the file.

    A list item may contain `each`, a list of mappings from names to values. Such an item stands for one item per
    mapping, in which the value replaces `{name}`. Inside a text it appears as written, so 0.2700 keeps its zeros.
    """
    content = _spread(_read(path))
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error).replace(".[key]=", ": must not be called ", 1)
        example = _example(kind, error.errors(include_url=False)[0]["loc"])
    match = re.match(r"(\w+?)s\.(\d+)(?:\.|: |(?==))", problem)
    if match:
        problem = f"{_label(f'{match[1]}s', int(match[2]), content)}: {problem[match.end() :]}"
    raise ConfigError(f"{problem}{example}")


def _label(key: str, place: int, content: Any) -> str:
    """Name an item of a list by its id where it has one: that is easier to find than its number."""
    item = content[key][place]
    name = item.get("id", "") if isinstance(item, dict) else ""
    return f"{key.removesuffix('s')} {name or place + 1!s:.80}"


def flow(value: Any) -> str:
    """Write a value as a file may have it, on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _example(kind: type[BaseModel], place: Sequence[int | str]) -> str:
    """Return `; an example: ...` with a right value for the innermost field on the way to a place, if it has one."""
    example, model = "", kind
    for key in place:
        if key in model.model_fields:
            field = model.model_fields[str(key)]
            example = f"; an example: {key}: {flow(field.examples[0])}" if field.examples else ""
            inner = models(field.annotation)
            model = inner[0] if inner else model
    return example


def models(annotation: Any) -> list[type[Plain]]:
    """Return the kinds of mapping in a file that a field's type contains."""
    if isinstance(annotation, type) and issubclass(annotation, Plain):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def _spread(content: Any) -> Any:
    """Replace every item that contains `each` by the items that it stands for."""
    room = _LARGEST

    def fill(part: Any, values: _Mapping) -> Any:
        nonlocal room
        names = _NAME.findall(part) if isinstance(part, str) else []
        for name in names:
            if name not in values:
                raise ConfigError(
                    f"{part:.60}: each has no value {name}{nearest(name, values)}; it has {', '.join(map(str, values))}"
                )
        room -= len(part) + sum(len(values.written[name]) for name in names) if names else 1
        if room < 0:
            raise ConfigError(f"what each stands for is larger than {_LARGEST // 1024} KiB, spelled out")
        if isinstance(part, dict):
            return {key: fill(value, values) for key, value in part.items()}
        if isinstance(part, list):
            return [fill(value, values) for value in part]
        if names and part == f"{{{names[0]}}}":
            return values.whole(names[0])
        return _NAME.sub(lambda match: values.written[match[1]], part) if names else part

    def items(key: str, place: int) -> list[Any]:
        item = content[key][place]
        if not isinstance(item, dict) or "each" not in item:
            return [item]
        label = _label(key, place, content)
        rest, each = {key: value for key, value in item.items() if key != "each"}, item["each"]
        rows = isinstance(each, list) and all(isinstance(values, dict) for values in each)
        if not rows or any(isinstance(value, dict | list) for values in each for value in values.values()):
            example = "{id: adam-{epoch}, ..., each: [{epoch: 1, value: 0.82}, {epoch: 30, value: 0.87}]}"
            raise ConfigError(
                f"{label}: each: must be a list of mappings from names to plain values, one for each claim, not "
                f"{each!s:.60}; an example: {example}"
            )
        try:
            return [fill(rest, values) for values in each]
        except ConfigError as error:
            raise ConfigError(f"{label}: {error}") from error

    if not isinstance(content, dict):
        return content
    lists = {key: range(len(value)) for key, value in content.items() if isinstance(value, list)}
    return {**content, **{key: [one for place in places for one in items(key, place)] for key, places in lists.items()}}


def _read(path: Path) -> Any:
    try:
        content = files.read(path, _LARGEST)
    except OSError as error:
        raise ConfigError(f"{error.strerror}; give the name of a paper or the path of a YAML file") from error
    try:
        return yaml.load(content.decode(), _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = error.problem
        if anchor := re.match("found duplicate anchor '(.+)';", str(error.context)):
            problem = f"&{anchor[1]} is there twice; give this one another name"
        raise ConfigError(f"line {line}: not plain YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError("not plain YAML: nested too deeply") from error
    # PyYAML raises many kinds of exception for a value that does not fit its tag.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ConfigError(f"not plain YAML: {' '.join(str(error).split())}") from error


class _Mapping(dict[Any, Any]):
    """A mapping that also keeps its plain values as the file writes them."""

    written: Mapping[str, str]

    def whole(self, name: str) -> Any:
        """Return a value that stands alone; a number keeps its spelling beside it."""
        value = self[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        kept = _Whole(value) if isinstance(value, int) else _Number(value)
        kept.written = self.written[name]
        return kept


class _Loader(yaml.SafeLoader):
    """A loader for plain data that refuses duplicate keys; PyYAML would silently drop the first value."""

    def __init__(self, content: str):
        super().__init__(content)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        assert node is not None
        if isinstance(event, yaml.AliasEvent) and node not in self._sizes:
            raise _error("an alias refers to a mapping or list that contains it", event)
        self._sizes[node] = size = 1 + sum(self._sizes[part] for part in _parts(node)) + len(node.value)
        if size > _LARGEST:
            raise _error(f"with its aliases expanded it is larger than {_LARGEST // 1024} KiB, spelled out", event)
        if isinstance(node, yaml.MappingNode):
            for key, times in Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
                if times > 1:
                    raise _error(f"the key {key[:60]} is there twice", event)
        return node

    def mapping(self, node: yaml.MappingNode) -> Iterator[_Mapping]:
        """Construct a mapping in two steps, as PyYAML does, because a mapping may contain itself."""
        made = _Mapping()
        yield made
        made.update(self.construct_mapping(node))
        pairs = [(key, value) for key, value in node.value if isinstance(value, yaml.ScalarNode)]
        made.written = {self.construct_object(key): value.value for key, value in pairs}


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)
# By default PyYAML reads 1e-3 and -.5 as text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _error(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
