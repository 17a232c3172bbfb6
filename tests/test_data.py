"""Fashion-MNIST is found in the documented order, never taken unverified, and loaded as the protocol says."""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST
from torchvision.transforms import Compose, Normalize, ToTensor

from fmnist_sweep import data

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = data.FILES
RAW = data.TORCHVISION_LAYOUT


class Mirror(ThreadingHTTPServer):
    """A web server on this machine for the files of a folder, which answers while `open` is set."""

    def __init__(self, folder):
        self.requested = []
        self.open = threading.Event()
        self.open.set()
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Handler(SimpleHTTPRequestHandler):
    server: Mirror

    def do_GET(self):
        self.server.requested.append(self.path.removeprefix("/").removesuffix(".gz"))
        self.server.open.wait()
        super().do_GET()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Starts a mirror for each folder given and makes them torchvision's."""
    started = []

    def start(*folders):
        started.extend(map(Mirror, folders))
        monkeypatch.setattr(FashionMNIST, "mirrors", [mirror.url for mirror in started])
        return started

    yield start
    for mirror in started:
        mirror.open.set()
        mirror.shutdown()
        mirror.server_close()


@pytest.fixture(scope="session")
def original():
    """The real files, decompressed."""
    return data.prepare(None)


@pytest.fixture(scope="session")
def archives(original, tmp_path_factory):
    """The real files, compressed."""
    folder = tmp_path_factory.mktemp("archives")
    for name in data.FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((original / name).read_bytes(), compresslevel=1))
    return folder


@pytest.fixture(autouse=True)
def elsewhere(archives, tmp_path, monkeypatch):
    """A machine without the data: empty cache, no system folder, no network, no apt."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(FashionMNIST, "mirrors", [])
    paths = [archives / f"{name}.gz" for name in data.FILES]
    resources = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in paths]
    monkeypatch.setattr(FashionMNIST, "resources", resources)


def copy(source, folder):
    """Links the files of `source` into a new `folder`."""
    folder.mkdir(parents=True)
    for name in data.FILES:
        for path in source.glob(f"{name}*"):
            (folder / path.name).symlink_to(path)
    return folder


def put(path, content):
    """Replaces the file or link `path`."""
    path.unlink()
    path.write_bytes(content)


def sums(folder):
    """The SHA-256 sums of the files in `folder`, hidden ones included."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("layout", [".", RAW])
def test_a_folder_with_all_four_is_found_and_used_as_it_is(layout, original, tmp_path):
    assert data.find(tmp_path / "mine") is None
    folder = copy(original, tmp_path / "mine" / layout)
    assert data.prepare(tmp_path / "mine") == data.find(tmp_path / "mine") == folder
    assert not (tmp_path / "cache").exists()


def test_a_cached_copy_is_found_and_saves_fetching_into_another_folder(original, tmp_path):
    cached = copy(original, data.cache_folder() / RAW)
    assert data.find() == data.find(tmp_path / "mine") == cached
    assert sums(data.prepare(tmp_path / "mine")) == data.CHECKSUMS
    assert data.find(tmp_path / "mine") == tmp_path / "mine" / RAW


@pytest.mark.parametrize("place", ["system", "mine", f"mine/{RAW}"])
def test_compressed_files_are_unpacked_once_to_where_torchvision_finds_them(place, archives, tmp_path, serve):
    copy(archives, tmp_path / place)
    (mirror,) = serve(archives)
    folder = data.prepare(tmp_path / "mine")
    assert folder == tmp_path / "mine" / RAW
    assert sums(folder).items() >= data.CHECKSUMS.items()
    assert sums(tmp_path / place).items() >= sums(archives).items()
    assert len(FashionMNIST(str(tmp_path / "mine"), train=False)) == 10_000
    before = (folder / TRAIN_IMAGES).stat().st_ino
    assert data.prepare(tmp_path / "mine") == folder
    assert (folder / TRAIN_IMAGES).stat().st_ino == before
    assert mirror.requested == []


@pytest.mark.parametrize("layout", [".", RAW])
@pytest.mark.parametrize("spoil", [lambda content: content[:-1] + b"\x77", lambda content: b""])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_wrong_file_is_named_with_both_sums_and_nothing_replaces_it(
    ending, spoil, layout, original, archives, tmp_path, serve
):
    folder = copy(archives if ending else original, tmp_path / "mine" / layout)
    (mirror,) = serve(archives)
    wrong = folder / f"{TEST_LABELS}{ending}"
    content = spoil((original / TEST_LABELS).read_bytes())
    put(wrong, gzip.compress(content) if ending else content)
    before = sums(folder)
    with pytest.raises(data.DataError) as error:
        data.prepare(tmp_path / "mine")
    expected = f"{wrong} is not Fashion-MNIST's {TEST_LABELS}: expected SHA-256 of the content "
    expected += f"{data.CHECKSUMS[TEST_LABELS]}, found {hashlib.sha256(content).hexdigest()}; put "
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)
    assert sums(folder) == before
    assert mirror.requested == []


@pytest.mark.parametrize("spoil", [lambda gz: b"<html>", lambda gz: gz[:-9], lambda gz: gz[:99] + bytes(99) + gz[198:]])
def test_a_file_that_gzip_cannot_read_is_named(spoil, archives, tmp_path):
    wrong = copy(archives, data.SYSTEM_FOLDER) / f"{TEST_LABELS}.gz"
    put(wrong, spoil((archives / wrong.name).read_bytes()))
    with pytest.raises(data.DataError, match=rf"{wrong} is not .*found what gzip cannot read \(.*\); put"):
        data.prepare(tmp_path / "mine")
    assert data.find(tmp_path / "mine") is None


@pytest.mark.parametrize("lies", [True, False])
def test_a_mirror_that_lies_or_lacks_a_file_is_passed_over_in_one_line(lies, archives, tmp_path, serve, capfd):
    wrong = copy(archives, tmp_path / "bad") / f"{TRAIN_LABELS}.gz"
    put(wrong, gzip.compress(b"please log in"))
    if not lies:
        wrong.unlink()
    bad, good = serve(tmp_path / "bad", archives)
    folder = data.prepare(tmp_path / "mine")
    assert (folder, sums(folder)) == (tmp_path / "mine" / RAW, data.CHECKSUMS)
    assert bad.requested == [TRAIN_IMAGES, TRAIN_LABELS]
    assert good.requested == list(data.FILES)
    first, second = (f"127.0.0.1:{mirror.server_port}" for mirror in (bad, good))
    md5 = dict(FashionMNIST.resources)[wrong.name]
    problem = (
        f"gives a {wrong.name} that does not have the MD5 sum {md5}"
        if lies
        else f"does not give {wrong.name} (HTTPError 404)"
    )
    assert capfd.readouterr().err.splitlines()[1:] == [
        f"fetching Fashion-MNIST from {first}",
        f"{first} {problem}",
        f"fetching Fashion-MNIST from {second}",
    ]


def test_fetching_shows_progress_on_a_terminal(archives, tmp_path, serve, monkeypatch, capsys):
    serve(archives)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    data.prepare(tmp_path / "mine")
    assert capsys.readouterr().err.count("100%") == len(data.FILES)


def test_mirrors_that_are_silent_or_down_cost_one_line_and_one_wait_each_and_manual_steps_follow(
    archives, tmp_path, serve, monkeypatch, capfd
):
    (mirror,) = serve(archives)
    mirror.open.clear()
    monkeypatch.setattr(FashionMNIST, "mirrors", [mirror.url, "http://127.0.0.1:9/"])
    monkeypatch.setattr("fmnist_sweep.download.TIMEOUT", (0.2, 0.2))
    with pytest.raises(data.DataError) as error:
        data.prepare(tmp_path / "mine")
    first, *steps = str(error.value).splitlines()
    silent = f"127.0.0.1:{mirror.server_port} does not give {TRAIN_IMAGES}.gz (ReadTimeout)"
    down = f"127.0.0.1:9 does not give {TRAIN_IMAGES}.gz (ConnectionError)"
    assert f"({silent}; {down}; Debian's package dataset-fashion-mnist: there is no apt-get and dpkg-deb here)" in first
    assert [line for line in capfd.readouterr().err.splitlines() if "does not" in line] == [silent, down]
    assert mirror.requested == [TRAIN_IMAGES]
    assert "apt-get install dataset-fashion-mnist" in steps[0]
    assert all(word in steps[1] for word in (str(tmp_path / "mine"), *data.FILES))


def test_a_folder_that_was_left_half_filled_is_filled(archives, tmp_path, serve, monkeypatch):
    write = Path.write_bytes

    def die_halfway(path, content):
        write(path, content[:1000] if TRAIN_LABELS in path.name else content)
        if TRAIN_LABELS in path.name:
            raise KeyboardInterrupt

    serve(archives)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", die_halfway)
        with pytest.raises(KeyboardInterrupt):
            data.prepare(tmp_path / "mine")
    whole = tmp_path / "mine" / RAW / TRAIN_IMAGES
    before = whole.stat().st_ino
    assert data.find(tmp_path / "mine") is None
    assert sums(data.prepare(tmp_path / "mine")) == data.CHECKSUMS
    assert whole.stat().st_ino == before


FETCH = """
import json, sys
from pathlib import Path
from torchvision.datasets import FashionMNIST
from fmnist_sweep import data
data.SYSTEM_FOLDER = Path("nowhere")
data.download.TIMEOUT = (60, 60)  # the other process may be slow to start
FashionMNIST.mirrors, FashionMNIST.resources = json.loads(sys.argv[1])
print(data.prepare(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("killed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_one_process_fetches_while_another_waits(killed, archives, tmp_path, serve):
    (mirror,) = serve(archives)
    mirror.open.clear()

    def start():
        sources = json.dumps([[mirror.url], FashionMNIST.resources])
        command = [sys.executable, "-c", FETCH, sources, str(tmp_path / "mine")]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with start() as first:
        while not mirror.requested:
            assert first.poll() is None
            time.sleep(0.05)
        with start() as second:
            assert "or waiting for the process that does" in second.stderr.readline()
            if killed:
                first.kill()
                assert first.wait() != 0
            mirror.open.set()
            outputs = [process.communicate()[0] for process in (first, second)]
    where = f"{tmp_path / 'mine' / RAW}\n"
    assert outputs == ["" if killed else where, where]
    assert sums(tmp_path / "mine" / RAW) == data.CHECKSUMS
    assert len(mirror.requested) == (5 if killed else 4)


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt with empty package lists; its only repository is to be put into the folder returned."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("needs apt and dpkg")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/repository ./\n")
    (tmp_path / "lists").mkdir()
    places = {"Etc::sourcelist": tmp_path / "sources.list", "Etc::sourceparts": "-", "State::Lists": tmp_path / "lists"}
    (tmp_path / "apt.conf").write_text("".join(f'Dir::{key} "{place}";\n' for key, place in places.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return tmp_path / "repository"


def test_debians_package_is_fetched_though_the_package_lists_are_empty(archives, apt, tmp_path):
    tree, package = tmp_path / "tree", apt / "dataset-fashion-mnist_1_all.deb"
    shutil.copytree(archives, tree / "usr/share/datasets/fashion-mnist")
    control = "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\n"
    control += "Description: a stand-in\n"
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(control)
    apt.mkdir()
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    size = package.stat().st_size
    (apt / "Packages").write_text(f"{control}Filename: ./{package.name}\nSize: {size}\nSHA256: {sha256}\n")
    assert sums(data.prepare(tmp_path / "mine")) == data.CHECKSUMS
    assert list((tmp_path / "lists").rglob("*Packages*")) == []


@pytest.mark.usefixtures("apt")
def test_an_apt_that_reaches_no_repository_says_so(tmp_path, capfd):
    (tmp_path / "sources.list").write_text("deb http://127.0.0.1:9/ ./\n")
    with pytest.raises(data.DataError, match=r"apt-get download dataset-fashion-mnist: E: Unable to locate"):
        data.prepare(tmp_path / "mine")
    assert "apt-get update: E: Failed to fetch http://127.0.0.1:9/" in capfd.readouterr().err


def test_a_folder_that_cannot_be_made_is_named_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(data.DataError, match=rf"^{tmp_path}/file.*; choose another folder with data.dir=FOLDER$"):
        data.prepare(tmp_path / "file" / "mine")


def test_the_papers_protocol_trains_on_all_60000_and_validates_on_the_test_images(original, monkeypatch):
    train, test = data.load_parts(original)
    monkeypatch.setattr(data, "load_parts", lambda folder: (train, test))
    loaded = data.load(original, data.Division("test"), torch.device("cpu"))
    for name, images, mapped in [
        (TRAIN_IMAGES, loaded.train_images, train.images),
        (TEST_IMAGES, loaded.val_images, test.images),
    ]:
        assert isinstance(mapped, np.memmap) and images.data_ptr() == mapped.ctypes.data  # processes share it
        assert (images.dtype, images.shape) == (torch.uint8, (len(mapped), 784))
        assert images.numpy().tobytes() == (original / name).read_bytes()[16:]
    for name, labels in [(TRAIN_LABELS, loaded.train_labels), (TEST_LABELS, loaded.val_labels)]:
        assert labels.dtype == torch.int64
        assert bytes(labels.tolist()) == (original / name).read_bytes()[8:]
    assert loaded.test_images is None and loaded.test_labels is None


def test_writing_to_the_images_does_not_reach_the_file(original, tmp_path):
    folder = shutil.copytree(original, tmp_path / "mine")
    data.load_parts(folder)[1].images.fill(7)
    assert sums(folder) == data.CHECKSUMS


def test_holdout_takes_always_the_same_10000_training_images_and_keeps_the_order(original):
    numbers = np.arange(60_000, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    part = data.Part(numbers, numbers)
    train, val, _ = data.split(part, part, data.Division("holdout"))
    kept, held = (part.labels.view(np.uint16).ravel() for part in (train, val))
    assert (len(kept), held[:5].tolist()) == (50_000, [1, 17, 28, 30, 40])
    assert np.array_equal(held, np.setdiff1d(np.arange(60_000), kept)) and np.array_equal(kept, np.sort(kept))
    assert np.array_equal(val.images, val.labels)
    loaded = data.load(original, data.Division("holdout"), torch.device("cpu"))
    assert loaded.test_images.numpy().tobytes() == (original / TEST_IMAGES).read_bytes()[16:]
    assert loaded.test_labels.bincount().tolist() == [1000] * 10


@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.2860, 0.3530), (0.0, 1.0)])
def test_a_batch_is_torchvisions_totensor_and_normalize(mean, std):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = Compose([ToTensor(), Normalize((mean,), (std,))])(image).reshape(1, 256)
    nothing = torch.empty(0)
    loaded = data.Data(nothing, nothing, nothing, nothing, None, None, mean, std)
    out = torch.full((1, 256), torch.nan)
    assert loaded.batch(torch.from_numpy(image.reshape(1, 256)), out) is out
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_a_file_that_shrank_after_it_was_verified_is_an_error(original, tmp_path):
    put(copy(original, tmp_path / "mine") / TRAIN_LABELS, b"short")
    with pytest.raises(data.DataError, match=f"cannot map {tmp_path}"):
        data.load_parts(tmp_path / "mine")


def test_importing_it_is_light():
    heavy = "import sys, fmnist_sweep.data; print({'torch', 'torchvision', 'pandas', 'pooch'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", heavy], text=True) == "set()\n"


def test_the_command_prints_where_the_data_are(original, tmp_path):
    command = [sys.executable, "-m", "fmnist_sweep.data", "--dir"]
    assert subprocess.check_output([*command, original], text=True) == f"{original}\n"
    wrong = copy(original, tmp_path / "mine") / TEST_LABELS
    put(wrong, b"")
    failed = subprocess.run([*command, wrong.parent], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert failed.stderr.startswith(f"error: {wrong} is not")


# Splits of the training images, and scaling by them


def divided(division):
    """The numbers of the training images that train and that validate, and whether there is a test part."""
    numbers = np.arange(60_000, dtype=np.uint16)
    train, val, test = data.split(data.Part(numbers, numbers), data.Part(numbers[:10_000], numbers[:10_000]), division)
    assert (len(train.labels), len(val.labels)) == division.counts()[:2]
    assert np.array_equal(train.images, train.labels) and np.array_equal(val.images, val.labels)
    return train.labels, val.labels, test is not None


@pytest.mark.parametrize(("size", "images"), [(5000, 5000), (0.2, 12_000), (0.1, 6000), (1, 1)])
def test_a_split_takes_so_many_of_the_last_or_the_first_images(size, images):
    train, val, tested = divided(data.Division("split", size, "last"))
    assert np.array_equal(val, np.arange(60_000 - images, 60_000)) and np.array_equal(train, np.arange(60_000 - images))
    first, _, _ = divided(data.Division("split", size, "first"))
    assert np.array_equal(first, np.arange(images, 60_000))
    assert tested


def test_a_random_split_follows_its_seed_and_keeps_the_order():
    (train, val, _), (_, again, _), (_, other, _) = (
        divided(data.Division("split", 100, "random", s)) for s in (3, 3, 4)
    )
    assert np.array_equal(val, again) and not np.array_equal(val, other)
    assert np.array_equal(val, np.sort(np.random.RandomState(3).permutation(60_000)[:100]))
    assert np.array_equal(train, np.setdiff1d(np.arange(60_000), val))


@pytest.mark.parametrize(
    ("division", "kept"),
    [
        (data.Division("test", train_size=1000), np.arange(1000)),
        (data.Division("split", 5000, "first", train_size=1000), np.arange(5000, 6000)),
        (data.Division("split", 0.5, "last", train_size=0.5), np.arange(15_000)),
    ],
)
def test_a_part_of_the_training_set_is_the_first_of_what_the_split_leaves(division, kept):
    whole, part = (divided(one) for one in (division._replace(train_size=None), division))
    assert np.array_equal(part[0], kept)
    assert np.array_equal(whole[1], part[1])


def test_scaling_is_by_the_images_that_train(original):
    division = data.Division("split", 5000, "first", train_size=20)
    images = data.load_parts(original)[0].images[5000:5020].reshape(20, 784) / 255
    loaded = data.load(original, division, torch.device("cpu"), "train", "train")
    assert (loaded.mean, loaded.std) == pytest.approx((images.mean(), images.std()), rel=1e-12)
    by_pixel = data.load(original, division, torch.device("cpu"), "pixel", "pixel")
    deviation = images.std(0)
    never_varies = deviation == 0
    assert never_varies.any()
    expected = np.where(never_varies, 1, deviation)  # as scikit-learn's StandardScaler has it
    np.testing.assert_allclose(by_pixel.mean, images.mean(0), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(by_pixel.std, expected, rtol=1e-5)
    out = by_pixel.batch(by_pixel.train_images, torch.empty(20, 784))
    np.testing.assert_allclose(out, (images - images.mean(0)) / expected, rtol=1e-3, atol=1e-4)
    assert out[:, torch.from_numpy(never_varies)].abs().max() < 1e-6
    mixed = data.load(original, division, torch.device("cpu"), "pixel", 1.0)
    assert mixed.std == 1 and torch.equal(mixed.mean, by_pixel.mean)


def test_scaling_by_the_whole_set_gives_the_numbers_that_everybody_quotes(original):
    loaded = data.load(original, data.Division("test"), torch.device("cpu"), "train", "train")
    assert (loaded.mean, loaded.std) == pytest.approx((0.2860, 0.3530), abs=5e-5)
