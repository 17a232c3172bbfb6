"""YAML that may come from anyone, read as plain data and checked.

A file may try to run code or to fill the memory: no tag makes more than plain data, and neither the file nor what it
comes to once aliases and `each` are spelled out may be larger than a limit. Who can change files meanwhile is not kept
out.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fmnist_sweep import files
from fmnist_sweep.errors import ConfigError, first_problem, nearest

_LARGEST = 1 << 20  # characters
_NAME = re.compile(r"\{(\w+)\}")


class Plain(BaseModel):
    """A mapping in a file; no value is taken for one of another type, and an unknown key is refused."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True, arbitrary_types_allowed=True)

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


T = TypeVar("T", bound=Plain)


def load(path: Path, kind: type[T]) -> T:
    """What a YAML file holds; `ConfigError` says in one line what is wrong with it, but does not name the file.

    An item of a list that holds `each`, a list of values by name, stands for as many items, in which `{name}` is
    replaced by the value: in a text by the value as it is written, so that 0.2700 keeps its zeros.
    """
    content = _spread(_read(path))
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error).replace(".[key]=", ": must not be called ", 1)
    # An item of a list is better known by its own name than by its number.
    match = re.match(r"(\w+?)s\.(\d+)(?:\.|: |(?==))", problem)
    if match:
        item = content[f"{match[1]}s"][int(match[2])]
        name = item.get("id", "") if isinstance(item, dict) else ""
        problem = f"{match[1]} {name or int(match[2]) + 1!s:.80}: {problem[match.end() :]}"
    raise ConfigError(problem)


def _spread(content: Any) -> Any:
    """Every item with `each` replaced by the items that it stands for."""
    room = _LARGEST

    def fill(part: Any, values: _Mapping) -> Any:
        nonlocal room
        names = _NAME.findall(part) if isinstance(part, str) else []
        for name in names:
            if name not in values:
                raise ConfigError(f"{part:.60}: each has no value {name}{nearest(name, values)}")
        room -= len(part) + sum(len(values.written[name]) for name in names) if names else 1
        if room < 0:
            raise ConfigError(f"what each stands for is larger than {_LARGEST // 1024} KiB, spelled out")
        if isinstance(part, dict):
            return {key: fill(value, values) for key, value in part.items()}
        if isinstance(part, list):
            return [fill(value, values) for value in part]
        if names and part == f"{{{names[0]}}}":
            return values[names[0]]
        return _NAME.sub(lambda match: values.written[match[1]], part) if names else part

    def items(item: Any) -> list[Any]:
        if not isinstance(item, dict) or "each" not in item:
            return [item]
        rest, each = {key: value for key, value in item.items() if key != "each"}, item["each"]
        rows = isinstance(each, list) and all(isinstance(values, dict) for values in each)
        if not rows or any(isinstance(value, dict | list) for values in each for value in values.values()):
            raise ConfigError(f"each: must be a list of mappings to plain values, not {each!s:.60}")
        return [fill(rest, values) for values in each]

    if not isinstance(content, dict):
        return content
    lists = {key: value for key, value in content.items() if isinstance(value, list)}
    return {**content, **{key: [one for item in value for one in items(item)] for key, value in lists.items()}}


def _read(path: Path) -> Any:
    try:
        content = files.read(path, _LARGEST)
    except OSError as error:
        raise ConfigError(f"{error.strerror}; give the name of a paper or the path of a YAML file") from error
    try:
        return yaml.load(content.decode(), _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"line {line}: not plain YAML: {error.problem}") from error
    except RecursionError as error:
        raise ConfigError("not plain YAML: nested too deeply") from error
    # PyYAML raises anything at all for a value that does not fit its tag.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ConfigError(f"not plain YAML: {' '.join(str(error).split())}") from error


class _Mapping(dict[Any, Any]):
    """A mapping that knows how its plain values are written."""

    written: Mapping[str, str]


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice: of two the first would be lost in silence."""

    def __init__(self, content: str):
        super().__init__(content)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        assert node is not None
        if isinstance(event, yaml.AliasEvent) and node not in self._sizes:
            raise _error("an alias stands for what it is part of", event)
        self._sizes[node] = size = 1 + sum(self._sizes[part] for part in _parts(node)) + len(node.value)
        if size > _LARGEST:
            raise _error(f"what aliases stand for is larger than {_LARGEST // 1024} KiB, spelled out", event)
        if isinstance(node, yaml.MappingNode):
            for key, times in Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
                if times > 1:
                    raise _error(f"the key {key[:60]} stands twice", event)
        return node

    def mapping(self, node: yaml.MappingNode) -> Iterator[_Mapping]:
        """Construct a mapping; in two steps, as PyYAML does, for what may hold itself."""
        made = _Mapping()
        yield made
        made.update(self.construct_mapping(node))
        pairs = [(key, value) for key, value in node.value if isinstance(value, yaml.ScalarNode)]
        made.written = {self.construct_object(key): value.value for key, value in pairs}


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)
# PyYAML takes 1e-3 and -.5 for texts.
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
