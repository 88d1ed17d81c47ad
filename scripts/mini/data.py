r"""Gather the training pictures of `mini` from git clones into one blob file and a manifest.

    PYTHONPATH=scripts python -m mini.data --data DATA --clones CLONES \
        --heldout words.json --out CACHE

CLONES holds one git clone per repository of DATA/SOURCES.md in a folder `owner+name`.
CACHE receives `pictures.bin` (the original files, one after the other) and `manifest.jsonl`.
Nothing in captioned-500 or photos is read here; near-duplicates of both are left out later,
by `features.py`, which has the features to see them.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .clones import Clone

FLICKR_SQUASHED = "RlNZLER/Image-Text-Matching"
FLICKR_ORIGINAL = "quantumnaan/sic_translator"
ONE_PER_CLASS = "EliSchwartz/imagenet-sample-images"

CALTECH_NAMES = {
    "Faces": "face", "Faces_easy": "face", "Leopards": "leopard", "Motorbikes": "motorbike",
    "airplanes": "airplane", "car_side": "side of a car", "cougar_body": "cougar",
    "cougar_face": "face of a cougar", "crocodile_head": "head of a crocodile",
    "flamingo_head": "head of a flamingo", "gerenuk": "gerenuk antelope", "okapi": "okapi",
    "ceiling_fan": "ceiling fan", "inline_skate": "inline skate", "ketch": "ketch sailing boat",
    "wild_cat": "wild cat", "windsor_chair": "windsor chair", "yin_yang": "yin yang symbol",
    "dollar_bill": "dollar bill", "electric_guitar": "electric guitar",
    "grand_piano": "grand piano", "joshua_tree": "joshua tree", "sea_horse": "sea horse",
    "soccer_ball": "soccer ball", "stop_sign": "stop sign", "water_lilly": "water lily",
}  # fmt: skip
WEATHER_NAMES = {"Shine": "sunshine", "Sunrise": "sunrise", "Rain": "rain", "Cloudy": "clouds"}
FLOWER_NAMES = {
    "dandelion": "dandelion", "daisy": "daisy", "tulips": "tulip", "sunflowers": "sunflower",
    "roses": "rose",
}  # fmt: skip


@dataclass
class Picture:
    """One training picture: where its bytes lie and what is said about it."""

    name: str
    source: str
    captions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    wnid: str = ""
    split: str = "train"
    offset: int = 0
    length: int = 0


def stable_fraction(text: str) -> float:
    """A number in [0, 1) that depends only on `text`: used to sample and to split."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def held_out_pattern(words: list[str]) -> re.Pattern[str]:
    """Match any held-out word, whole, case-insensitive, plural too."""
    ending = "(?:s|es|'s)?"
    alternatives = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"\b(?:{alternatives}){ending}\b", re.IGNORECASE)


@dataclass
class LabelledSource:
    """A repository whose paths tell the label, and how many pictures a label may give."""

    repository: str
    pattern: str
    limit: int
    rename: Callable[[str], str] = lambda label: label.replace("_", " ").lower()


def grocery_label(label: str) -> str:
    return label.replace("-", " ").replace("_", " ").lower()


LABELLED = [
    LabelledSource("ajschumacher/imagen", r"imagen/(?P<label>n\d{8})_", 9),
    LabelledSource("thunderInfy/imagenette", r"(?:train|val)/(?P<label>n\d{8})/", 250),
    LabelledSource("Deo0330/split_minidataset", r"(?:train|val|test)/(?P<label>n\d{8})/", 40),
    LabelledSource("seshuad/IMagenet", r"tiny-imagenet-200/train/(?P<label>n\d{8})/", 20),
    LabelledSource(
        "MachineLearning2020/Homework2-Caltech101",
        r"101_ObjectCategories/(?P<label>(?!BACKGROUND)[^/]+)/",
        80,
        lambda label: CALTECH_NAMES.get(label, label.replace("_", " ").lower()),
    ),
    LabelledSource(
        "FundyLord/Sports-Image-Classification",
        r"sports-classification/(?:train|test|valid)/(?P<label>[^/]+)/(?!.*aug)",
        40,
    ),
    LabelledSource(
        "marcusklasson/GroceryStoreDataset",
        r"dataset/(?:train|val|test)/(?P<kind>Fruit|Vegetables|Packages)/(?P<label>.+)/[^/]+$",
        40,
        grocery_label,
    ),
    LabelledSource(
        "alexeygrigorev/clothing-dataset-small",
        r"(?:train|validation|test)/(?P<label>[^/]+)/",
        200,
        lambda label: {"longsleeve": "long-sleeved shirt", "outwear": "jacket"}.get(label, label),
    ),
    LabelledSource("MachineLearning2020/Homework3-PACS", r"PACS/photo/(?P<label>[^/]+)/", 240),
    LabelledSource(
        FLICKR_SQUASHED,
        r"dataset_for_transformer_classifier/flower_photos-resised_\w+/(?P<label>[^/]+)/",
        250,
        FLOWER_NAMES.__getitem__,
    ),
    LabelledSource(
        "emanhamed/Houses-dataset",
        r".*_(?P<label>bathroom|bedroom|kitchen|frontal)\.jpg",
        200,
        lambda label: "front of a house" if label == "frontal" else label,
    ),
    LabelledSource(
        "ndb796/weather_dataset", r"(?:\w+/)?(?P<label>Shine|Sunrise|Rain|Cloudy)/", 250,
        WEATHER_NAMES.__getitem__,
    ),
    LabelledSource(
        "afroozsheikh/Intel-Image-Classifier", r"(?:train|test)/(?P<label>[^/]+)/", 150
    ),
    LabelledSource(
        "kr0tDV/animal-image-classification",
        r"data/(?:train|test)/(?P<label>[^/]+)/",
        100,
        lambda label: "deer" if label == "deep" else label,
    ),
]  # fmt: skip
GIVEN_ONLY = {
    "Obmutescence/COCO-MINI",
    "rawdhikagupta/Cross-Modal-Image-Text-Retrieval",
    "jaaumeadrover/Landscape-Image-Classification",
    "AKSYOA/NN-Sports-Image-Classification",
}


def caption_key(captions: list[str]) -> tuple[str, ...]:
    """What stays the same of a picture's captions whoever cleaned their punctuation."""
    return tuple(sorted(re.sub(r"[^a-z0-9]", "", caption.lower()) for caption in captions))


def clean_caption(caption: str) -> str:
    """`A dog , running .` -> `A dog, running.`"""
    return re.sub(r"\s+([.,;!?'])", r"\1", caption.strip().strip('"')).strip()


def read_given(data: Path) -> list[dict]:
    """The lines of train.jsonl.gz."""
    with gzip.open(data / "train" / "train.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def flickr_pictures(clones: Path, given_rows: list[dict]) -> Iterator[tuple[Picture, bytes]]:
    """Flickr8k: squashed ones, not the first 1,000 by name; of the originals those in DATA."""
    original = Clone(clones, FLICKR_ORIGINAL)
    captions: dict[str, list[str]] = defaultdict(list)
    for row in csv.reader(io.StringIO(original.read_text("data/ignore_captions.txt"))):
        if row and row[0].endswith(".jpg"):
            captions[row[0]].append(clean_caption(",".join(row[1:])))
    first_thousand = set(sorted(captions)[:1000])
    allowed = {
        caption_key(row["captions"]) for row in given_rows if row["source"] == FLICKR_ORIGINAL
    }
    for clone, source, folder in (
        (original, FLICKR_ORIGINAL, "data/Images/"),
        (Clone(clones, FLICKR_SQUASHED), FLICKR_SQUASHED, "data/images/"),
    ):
        chosen: dict[str, str] = {}
        for path, object_id in clone.list_files().items():
            name = path.removeprefix(folder)
            if not path.startswith(folder) or name not in captions:
                continue
            if source == FLICKR_ORIGINAL:
                wanted = caption_key(captions[name]) in allowed
            else:
                wanted = name not in first_thousand
            if wanted:
                chosen[name] = object_id
        for name, content in zip(chosen, clone.read(list(chosen.values())), strict=True):
            share = 0.6 if source == FLICKR_ORIGINAL else 0.035
            split = "validation" if stable_fraction(name) < share else "train"
            yield Picture(name, source, captions=captions[name], split=split), content


def labelled_pictures(
    clones: Path, source: LabelledSource, names: dict[str, list[str]]
) -> Iterator[tuple[Picture, bytes]]:
    """Up to `source.limit` pictures a label, the same ones on every machine."""
    clone = Clone(clones, source.repository)
    groups: dict[str, list[tuple[float, str, str, str]]] = defaultdict(list)
    for path, object_id in clone.list_files().items():
        match = re.match(source.pattern, path)
        if match and path.lower().endswith((".jpg", ".jpeg", ".png")):
            kind = match.groupdict().get("kind", "")
            entry = (stable_fraction(path), path, object_id, kind)
            groups[match["label"]].append(entry)
    for label, entries in sorted(groups.items()):
        chosen = sorted(entries)[: source.limit]
        wnid = label if re.fullmatch(r"n\d{8}", label) else ""
        labels = names.get(wnid, [])[:1] if wnid else []
        if not wnid:
            labels = [source.rename(part) for part in reversed(label.split("/"))]
        if chosen[0][3] in ("Fruit", "Vegetables"):
            labels.append(chosen[0][3].lower().removesuffix("s"))
        contents = clone.read([entry[2] for entry in chosen])
        for (_, path, _, _), content in zip(chosen, contents, strict=True):
            split = "validation" if stable_fraction(path + "split") < 0.06 else "train"
            yield Picture(path, source.repository, [], labels, wnid, split), content


def one_per_class_pictures(
    clones: Path, data: Path, given_rows: list[dict], names: dict[str, list[str]]
) -> Iterator[tuple[Picture, bytes]]:
    """The pictures of imagenet-sample-images that DATA holds, at full size; no other one."""
    held = {row["labels"][0] for row in given_rows if row["source"] == ONE_PER_CLASS}
    photos = {json.loads(line)["wnid"] for line in (data / "photos.jsonl").read_text().splitlines()}
    clone = Clone(clones, ONE_PER_CLASS)
    chosen: dict[str, str] = {}
    for path, object_id in clone.list_files().items():
        wnid, _, rest = path.partition("_")
        label = rest.rpartition(".")[0].replace("_", " ")
        if re.fullmatch(r"n\d{8}", wnid) and wnid not in photos and label in held:
            chosen[path] = object_id
    for path, content in zip(chosen, clone.read(list(chosen.values())), strict=True):
        wnid = path.partition("_")[0]
        split = "validation" if stable_fraction(path) < 0.5 else "train"
        yield Picture(path, ONE_PER_CLASS, [], names[wnid][:1], wnid, split), content


def given_pictures(data: Path, given_rows: list[dict]) -> Iterator[tuple[Picture, bytes]]:
    """The small sources, as they lie in DATA."""
    wanted = {row["file"]: row for row in given_rows if row["source"] in GIVEN_ONLY}
    for shard in sorted((data / "train").glob("train-*.tar.gz")):
        with tarfile.open(shard) as archive:
            for member in archive:
                row = wanted.get(Path(member.name).name)
                content = archive.extractfile(member) if row else None
                if row and content:
                    yield (
                        Picture(row["file"], row["source"], row["captions"], row["labels"]),
                        content.read(),
                    )


def class_names(data: Path, clones: Path) -> dict[str, list[str]]:
    """ImageNet wnid -> its names, the one of classes.json first, then WordNet's synonyms."""
    classes = json.loads((data / "teacher" / "classes.json").read_text())
    words = Clone(clones, "seshuad/IMagenet").read_text("tiny-imagenet-200/words.txt")
    synonyms = dict(line.split("\t", 1) for line in words.splitlines() if "\t" in line)
    names: dict[str, list[str]] = {}
    for wnid, name in zip(classes["wnids"], classes["names"], strict=True):
        all_names = [name.replace("_", " "), *synonyms.get(wnid, "").split(", ")]
        names[wnid] = list(dict.fromkeys(filter(None, (text.strip() for text in all_names))))
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("data", "clones", "heldout", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    held_out = held_out_pattern(list(json.loads(options.heldout.read_text())))
    given_rows = read_given(options.data)
    names = class_names(options.data, options.clones)
    streams = [
        flickr_pictures(options.clones, given_rows),
        one_per_class_pictures(options.clones, options.data, given_rows, names),
        given_pictures(options.data, given_rows),
        *(labelled_pictures(options.clones, source, names) for source in LABELLED),
    ]
    kept: dict[str, int] = defaultdict(int)
    seen: set[bytes] = set()
    with (
        open(options.out / "pictures.bin", "wb") as blob,
        open(options.out / "manifest.jsonl", "w") as manifest,
    ):
        for picture, content in (pair for stream in streams for pair in stream):
            digest = hashlib.sha256(content).digest()
            if not content or digest in seen:
                continue
            seen.add(digest)
            picture.captions = [text for text in picture.captions if not held_out.search(text)]
            picture.labels = [text for text in picture.labels if not held_out.search(text)]
            picture.offset, picture.length = blob.tell(), len(content)
            blob.write(content)
            manifest.write(json.dumps(asdict(picture)) + "\n")
            kept[f"{picture.source} {picture.split}"] += 1
    usable = {
        wnid: [name for name in texts if not held_out.search(name)] for wnid, texts in names.items()
    }
    (options.out / "class_names.json").write_text(json.dumps(usable, indent=1))
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
