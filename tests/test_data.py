"""Fashion-MNIST is found in the documented order, never taken unverified, and loaded as the protocol says."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fmnist_sweep import data

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = data.FILES


@pytest.fixture(scope="session")
def original() -> Path:
    """The real files, decompressed."""
    return data.prepare(None)


@pytest.fixture(scope="session")
def archives(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files, compressed."""
    folder = tmp_path_factory.mktemp("archives")
    for name in data.FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((original / name).read_bytes(), compresslevel=1))
    return folder


@pytest.fixture(autouse=True)
def elsewhere(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the data: empty cache, no system folder, no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [])
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def copy(source: Path, folder: Path) -> Path:
    """Links the files of `source` into a new `folder`."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(path: Path, content: bytes) -> None:
    """Replaces the file or link `path`."""
    path.unlink()
    path.write_bytes(content)


def contents(folder: Path) -> dict[str, str]:
    """The sums of everything below `folder`, hidden files included."""
    return {str(p.relative_to(folder)): sha256(p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


class Mirror(ThreadingHTTPServer):
    """A web server on this machine for the files of a folder, which answers while `open` is set."""

    def __init__(self, folder: Path) -> None:
        self.requested: list[str] = []
        self.first = threading.Event()
        self.open = threading.Event()
        self.open.set()
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(SimpleHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        self.server.first.set()
        self.server.open.wait()
        try:
            super().do_GET()
        except ConnectionError:
            self.close_connection = True  # the client was killed

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Mirror]]]:
    """Starts a mirror for each folder given and makes them torchvision's."""
    started: list[Mirror] = []

    def start(*folders: Path) -> list[Mirror]:
        for folder in folders:
            started.append(Mirror(folder))
            threading.Thread(target=started[-1].serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [mirror.url for mirror in started])
        return started

    yield start
    for mirror in started:
        mirror.open.set()
        mirror.shutdown()
        mirror.server_close()


# Where the data are looked for


def test_a_configured_folder_comes_first_and_is_used_as_it_is(original: Path, tmp_path: Path) -> None:
    folder = copy(original, tmp_path / "mine")
    (copy(original, data.SYSTEM_FOLDER) / TRAIN_LABELS).unlink()
    assert data.prepare(folder) == folder
    assert not (tmp_path / "cache").exists()


def test_torchvisions_layout_is_accepted(original: Path, tmp_path: Path) -> None:
    raw = copy(original, tmp_path / "root" / "FashionMNIST" / "raw")
    assert data.prepare(tmp_path / "root") == raw


def test_torchvision_reads_what_was_prepared(archives: Path, tmp_path: Path) -> None:
    from torchvision.datasets import FashionMNIST

    copy(archives, data.SYSTEM_FOLDER)
    data.prepare(tmp_path / "root")
    assert len(FashionMNIST(str(tmp_path / "root"), train=False)) == 10_000


@pytest.mark.parametrize("below", [".", "FashionMNIST/raw"])
def test_compressed_files_are_left_alone_and_unpacked_once_into_the_cache(
    below: str, archives: Path, tmp_path: Path
) -> None:
    raw, folder = copy(archives, tmp_path / "mine" / below), tmp_path / "mine"
    unpacked = data.prepare(folder)
    assert unpacked.is_relative_to(tmp_path / "cache")
    assert contents(unpacked) == data.CHECKSUMS
    assert contents(raw) == contents(archives)
    before = (unpacked / TRAIN_IMAGES).stat()
    assert data.prepare(folder) == unpacked
    assert (unpacked / TRAIN_IMAGES).stat() == before
    put(unpacked / TEST_LABELS, b"rubbish")
    with pytest.raises(data.DataError, match=sha256(b"rubbish")):
        data.prepare(folder)


@pytest.mark.parametrize("configured", [True, False])
def test_the_systems_folder_comes_second(
    configured: bool, archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]]
) -> None:
    copy(archives, data.SYSTEM_FOLDER)
    (mirror,) = serve(archives)
    folder = tmp_path / "mine" if configured else None
    prepared = data.prepare(folder)
    home = folder or tmp_path / "cache" / "fmnist_sweep"
    assert contents(home) == {f"FashionMNIST/raw/{name}": sha for name, sha in data.CHECKSUMS.items()}
    assert prepared == home / "FashionMNIST" / "raw"
    assert mirror.requested == []


# Wrong files


def truncated(folder: Path, original: Path) -> tuple[str, str]:
    content = (original / TRAIN_IMAGES).read_bytes()[:1_000_000]
    put(folder / TRAIN_IMAGES, content)
    return TRAIN_IMAGES, sha256(content)


def swapped(folder: Path, original: Path) -> tuple[str, str]:
    put(folder / TRAIN_LABELS, (original / TEST_LABELS).read_bytes())
    return TRAIN_LABELS, f"{data.CHECKSUMS[TEST_LABELS]}, which is {TEST_LABELS}"


def one_bit(folder: Path, original: Path) -> tuple[str, str]:
    content = (original / TEST_IMAGES).read_bytes()
    content = content[:-1] + bytes([content[-1] ^ 1])
    put(folder / TEST_IMAGES, content)
    return TEST_IMAGES, sha256(content)


def empty(folder: Path, original: Path) -> tuple[str, str]:
    put(folder / TEST_LABELS, b"")
    return TEST_LABELS, sha256(b"")


def missing(folder: Path, original: Path) -> tuple[str, str]:
    (folder / TEST_LABELS).unlink()
    return TEST_LABELS, "no such file"


def no_gzip(folder: Path, original: Path) -> tuple[str, str]:
    (folder / TEST_LABELS).unlink()
    (folder / f"{TEST_LABELS}.gz").write_bytes(b"<html>404</html>")
    return TEST_LABELS, f"{sha256(b'')} up to where gzip fails"


def truncated_gzip(folder: Path, original: Path) -> tuple[str, str]:
    (folder / TEST_LABELS).unlink()
    content = gzip.compress((original / TEST_LABELS).read_bytes())
    (folder / f"{TEST_LABELS}.gz").write_bytes(content[:-2000])
    return TEST_LABELS, "up to where gzip fails"


def damaged_gzip(folder: Path, original: Path) -> tuple[str, str]:
    (folder / TEST_LABELS).unlink()
    content = bytearray(gzip.compress((original / TEST_LABELS).read_bytes()))
    content[1000:1100] = bytes(100)
    (folder / f"{TEST_LABELS}.gz").write_bytes(content)
    return TEST_LABELS, "up to where gzip fails"


@pytest.mark.parametrize("spoil", [truncated, swapped, one_bit, empty, missing, no_gzip, truncated_gzip, damaged_gzip])
@pytest.mark.parametrize("below", [".", "FashionMNIST/raw"])
def test_a_wrong_file_is_named_with_both_sums_and_not_replaced(
    spoil: Callable[[Path, Path], tuple[str, str]],
    below: str,
    original: Path,
    archives: Path,
    tmp_path: Path,
    serve: Callable[..., list[Mirror]],
) -> None:
    folder = copy(original, tmp_path / "mine" / below)
    copy(archives, data.SYSTEM_FOLDER)
    (mirror,) = serve(archives)
    name, found = spoil(folder, original)
    before = contents(tmp_path / "mine")
    with pytest.raises(data.DataError) as error:
        data.prepare(tmp_path / "mine")
    message = str(error.value)
    assert str(folder / name) in message
    assert f"expected SHA-256 of the content {data.CHECKSUMS[name]}, found" in message
    assert found in message
    assert "\n" not in message
    assert contents(tmp_path / "mine") == before
    assert mirror.requested == []
    assert not (tmp_path / "cache").exists()


def test_a_wrong_file_of_the_system_is_an_error_too(archives: Path, tmp_path: Path) -> None:
    put(copy(archives, data.SYSTEM_FOLDER) / f"{TEST_LABELS}.gz", b"")
    with pytest.raises(data.DataError, match=str(data.SYSTEM_FOLDER / TEST_LABELS)):
        data.prepare(None)
    assert not (tmp_path / "cache").exists()


def test_a_cached_copy_is_verified_at_every_start(archives: Path) -> None:
    copy(archives, data.SYSTEM_FOLDER)
    prepared = data.prepare(None)
    put(prepared / TEST_LABELS, b"rubbish")
    with pytest.raises(data.DataError, match=sha256(b"rubbish")):
        data.prepare(None)


# Fetching


@pytest.mark.parametrize("exists", [True, False])
def test_the_mirror_comes_third_and_is_asked_once(
    exists: bool, archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]]
) -> None:
    (mirror,) = serve(archives)
    folder = tmp_path / "new" / "mine"
    if exists:
        folder.mkdir(parents=True)
    prepared = data.prepare(folder)
    assert contents(folder) == {f"FashionMNIST/raw/{name}": sha for name, sha in data.CHECKSUMS.items()}
    assert list(folder.iterdir()) == [folder / "FashionMNIST"]
    assert list((folder / "FashionMNIST").iterdir()) == [prepared]
    assert data.prepare(folder) == prepared
    assert mirror.requested == [f"/{name}.gz" for name in data.FILES]


def test_a_mirror_that_lies_is_passed_over(
    archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]], capsys: pytest.CaptureFixture[str]
) -> None:
    liar = copy(archives, tmp_path / "liar")
    put(liar / f"{TEST_LABELS}.gz", gzip.compress(b"please log in"))
    serve(liar, archives)
    assert contents(data.prepare(tmp_path / "mine")) == data.CHECKSUMS
    assert sha256(b"please log in") in capsys.readouterr().err


def test_what_a_killed_process_left_is_removed(
    archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]]
) -> None:
    left = tmp_path / "mine" / "FashionMNIST" / ".raw.incoming"
    left.mkdir(parents=True)
    (left / TRAIN_IMAGES).write_bytes(b"half")
    serve(archives)
    assert contents(data.prepare(tmp_path / "mine")) == data.CHECKSUMS
    assert not left.exists()


FETCH = """
import sys
from pathlib import Path
from torchvision.datasets import FashionMNIST
from fmnist_sweep import data
data.SYSTEM_FOLDER = Path(sys.argv[1], "system")
FashionMNIST.mirrors = [sys.argv[2]]
print(data.prepare(Path(sys.argv[1], "mine")))
"""


@pytest.mark.parametrize("killed", [True, False])
def test_one_process_fetches_while_another_waits(
    killed: bool, archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]]
) -> None:
    (mirror,) = serve(archives)
    mirror.open.clear()

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FETCH, str(tmp_path), mirror.url]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with start() as first:
        assert mirror.first.wait(120)
        with start() as second:
            assert second.stderr is not None
            assert "waiting for another process" in second.stderr.readline()
            if killed:
                first.kill()
                assert first.wait() != 0
            mirror.open.set()
            outputs = [process.communicate()[0] for process in (first, second)]
    where = f"{tmp_path / 'mine' / 'FashionMNIST' / 'raw'}\n"
    assert outputs == ["" if killed else where, where]
    assert contents(tmp_path / "mine") == {f"FashionMNIST/raw/{name}": s for name, s in data.CHECKSUMS.items()}
    assert len(mirror.requested) == (5 if killed else 4)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt with empty package lists. Returns the folder that is its only repository, not yet there."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("needs apt and dpkg")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/repository ./\n")
    (tmp_path / "lists").mkdir()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "-";\n'
        f'Dir::State::Lists "{tmp_path}/lists";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return tmp_path / "repository"


def test_debians_package_is_fetched_though_the_package_lists_are_empty(
    archives: Path, apt: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(archives, tree / "usr/share/datasets/fashion-mnist")
    apt.mkdir()
    control = (
        "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        "Description: a stand-in\n"
    )
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(control)
    package = apt / "dataset-fashion-mnist_1_all.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    content = package.read_bytes()
    (apt / "Packages").write_text(
        f"{control}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {sha256(content)}\n"
    )
    assert contents(data.prepare(tmp_path / "mine")) == data.CHECKSUMS
    assert list((tmp_path / "lists").rglob("*Packages*")) == []
    assert {path.name for path in (tmp_path / "mine").rglob("*")} == {"FashionMNIST", "raw", *data.FILES}


@pytest.mark.usefixtures("apt")
def test_an_apt_that_reaches_no_repository_says_so(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://127.0.0.1:9/ ./\n")
    with pytest.raises(data.DataError, match=r"apt-get download .*Unable to locate.*127\.0\.0\.1:9/"):
        data.prepare(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_when_nothing_can_be_fetched_the_message_has_the_manual_steps_and_nothing_is_left(
    exists: bool, archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]]
) -> None:
    partial_mirror = copy(archives, tmp_path / "partial")
    (partial_mirror / f"{TEST_LABELS}.gz").unlink()
    (mirror,) = serve(partial_mirror)
    folder = tmp_path / "new" / "mine"
    if exists:
        folder.mkdir(parents=True)
    with pytest.raises(data.DataError) as error:
        data.prepare(folder)
    first, *steps = str(error.value).splitlines()
    for said in (folder, data.SYSTEM_FOLDER, f"{mirror.url}{TEST_LABELS}.gz: HTTP Error 404", "no apt-get"):
        assert str(said) in first
    assert "apt-get install dataset-fashion-mnist" in steps[0]
    assert str(folder) in steps[1]
    assert all(name in steps[1] for name in data.FILES)
    assert folder.exists() == exists
    assert contents(tmp_path / "new") == {}
    assert (tmp_path / "new").exists() == exists


def test_a_mirror_that_never_answers_is_given_up(
    archives: Path, tmp_path: Path, serve: Callable[..., list[Mirror]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (mirror,) = serve(archives)
    mirror.open.clear()
    monkeypatch.setattr("fmnist_sweep.fetching.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(data.DataError, match=rf"{mirror.url}{TRAIN_IMAGES}.gz: .*timed out"):
        data.prepare(tmp_path / "mine")


def test_a_mirror_that_is_down_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(data.DataError, match=r"127\.0\.0\.1:9/.*refused"):
        data.prepare(tmp_path / "mine")


def test_a_folder_that_cannot_be_made_is_named_in_one_line(archives: Path, tmp_path: Path) -> None:
    copy(archives, data.SYSTEM_FOLDER)
    (tmp_path / "file").touch()
    with pytest.raises(data.DataError) as error:
        data.prepare(tmp_path / "file" / "mine")
    assert str(tmp_path / "file") in str(error.value)
    assert "data.dir=FOLDER" in str(error.value)
    assert "\n" not in str(error.value)


# What is loaded


def test_the_papers_protocol_trains_on_all_60000_and_validates_on_the_test_images(original: Path) -> None:
    import torch

    loaded = data.load(original, "test", torch.device("cpu"), 0.5, 0.5)
    for name, tensor in [(TRAIN_IMAGES, loaded.train_images), (TEST_IMAGES, loaded.val_images)]:
        assert tensor.dtype == torch.uint8
        assert tensor.shape == (data.FILES[name].shape[0], 784)
        assert tensor.numpy().tobytes() == (original / name).read_bytes()[16:]
    for name, tensor in [(TRAIN_LABELS, loaded.train_labels), (TEST_LABELS, loaded.val_labels)]:
        assert tensor.dtype == torch.int64
        assert bytes(tensor.tolist()) == (original / name).read_bytes()[8:]
    assert loaded.test_images is None
    assert loaded.test_labels is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_images_on_a_cpu_are_the_mapped_file(original: Path) -> None:
    import torch

    loaded = data.load(original, "test", torch.device("cpu"), 0.5, 0.5)
    address = loaded.train_images.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(limit, 16) for limit in line.split()[0].split("-"))
        if start <= address < end:
            assert line.endswith(str((original / TRAIN_IMAGES).resolve()))
            break
    else:
        pytest.fail("the images lie nowhere")


def test_writing_to_the_images_does_not_reach_the_file(original: Path, tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "mine"
    shutil.copytree(original, folder)
    data.load(folder, "test", torch.device("cpu"), 0.5, 0.5).val_images.fill_(7)
    assert contents(folder) == data.CHECKSUMS


def test_holdout_takes_10000_training_images_always_the_same_in_data_set_order() -> None:
    numbers = np.arange(60_000, dtype=np.uint16)
    as_bytes = numbers.view(np.uint8).reshape(-1, 2)
    arrays = {
        "train_images": as_bytes,
        "train_labels": as_bytes,
        "test_images": as_bytes[:3],
        "test_labels": as_bytes[:3],
    }
    train, val, test = data.split(arrays, "holdout")
    kept, held = (part.labels.view(np.uint16).ravel() for part in (train, val))
    assert (len(kept), len(held)) == (50_000, 10_000)
    assert np.array_equal(np.union1d(kept, held), numbers)
    for part, labels in ((train, kept), (val, held)):
        assert np.array_equal(labels, np.sort(labels))
        assert np.array_equal(part.images, part.labels)
    assert test is not None
    assert np.array_equal(test.labels, as_bytes[:3])
    assert held[:5].tolist() == [1, 17, 28, 30, 40]
    assert np.array_equal(val.labels, data.split(arrays, "holdout")[1].labels)


def test_holdout_keeps_the_test_set_for_the_end(original: Path) -> None:
    import torch

    loaded = data.load(original, "holdout", torch.device("cpu"), 0.5, 0.5)
    assert loaded.train_images.shape == (50_000, 784)
    assert loaded.val_images.shape == (10_000, 784)
    assert loaded.test_images is not None
    assert loaded.test_labels is not None
    assert loaded.test_images.numpy().tobytes() == (original / TEST_IMAGES).read_bytes()[16:]
    assert loaded.test_labels.bincount().tolist() == [1000] * 10
    counts = loaded.train_labels.bincount() + loaded.val_labels.bincount()
    assert counts.tolist() == [6000] * 10


def test_an_unknown_split_is_an_error() -> None:
    arrays = dict.fromkeys(["train_images", "train_labels", "test_images", "test_labels"], np.empty(0, np.uint8))
    with pytest.raises(data.DataError, match=r"data.validation=half: must be test or holdout"):
        data.split(arrays, "half")


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.2860, 0.3530), (0.0, 1.0)])
def test_normalising_is_torchvisions_totensor_and_normalize(mean: float, std: float) -> None:
    import torch
    from torchvision.transforms import Compose, Normalize, ToTensor

    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = Compose([ToTensor(), Normalize((mean,), (std,))])(image).reshape(1, 256)
    nothing = torch.empty(0)
    loaded = data.Data(nothing, nothing, nothing, nothing, None, None, mean, std)
    out = torch.full((1, 256), torch.nan)
    assert loaded.batch(torch.from_numpy(image.reshape(1, 256)), out) is out
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_a_file_that_shrank_after_it_was_verified_is_an_error(original: Path, tmp_path: Path) -> None:
    folder = copy(original, tmp_path / "mine")
    put(folder / TRAIN_LABELS, b"short")
    with pytest.raises(data.DataError, match=str(folder)):
        data.load_arrays(folder)


# The module by itself


def test_importing_it_is_light() -> None:
    heavy = "import sys, fmnist_sweep.data; print({'torch', 'torchvision', 'pandas'} & sys.modules.keys())"
    printed = subprocess.run([sys.executable, "-c", heavy], check=True, capture_output=True, text=True).stdout
    assert printed == "set()\n"


def test_the_command_prints_where_the_data_are(original: Path, tmp_path: Path) -> None:
    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fmnist_sweep.data", "--dir", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))

    assert run(original).stdout == f"{original}\n"
    folder = copy(original, tmp_path / "mine")
    put(folder / TEST_LABELS, b"")
    failed = run(folder)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {folder / TEST_LABELS} is not")
    assert failed.stderr.count("\n") == 1
