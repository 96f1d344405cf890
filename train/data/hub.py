"""Data sets on the Hugging Face hub: their files by name, downloaded one by one into the hub's own cache when read.

The labels of a table are read by range requests, so a set can be listed before its images are downloaded. Without a
network, what the cache holds is used.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.core.environment import require
from ...runtime.core.errors import CinemaeError, UsageError
from ...runtime.core.text import first_line

SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<inside>.*))?"
)
_PART = re.compile(r"-of-(\d{5})")
LABEL_BLOCK = 1 << 18
"""Bytes of one range request for labels."""


class HubAddress(NamedTuple):
    """An address of a data set or of a file in it.

    Attributes:
        repo: "ORG/NAME".
        revision: branch, tag or commit.
        inside: configuration, split, folder or file; "" for all.
    """

    repo: str
    revision: str
    inside: str

    def file(self, path: str) -> str:
        """The name of a file of the data set."""
        return f"{SCHEME}datasets/{self.repo}@{self.revision}/{path}"


def is_hub(name: str) -> bool:
    """Whether a name is an address on the hub."""
    return name.startswith(SCHEME)


def parse(text: str) -> HubAddress:
    """The parts of an address.

    Raises:
        UsageError: it is none of a data set.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise UsageError(f"{text}: a data set on the hub is {SCHEME}datasets/ORG/NAME[@REVISION][/SPLIT]")
    return HubAddress(match["repo"], match["revision"] or "main", (match["inside"] or "").strip("/"))


def files_of(address: HubAddress) -> tuple[HubAddress, list[str]]:
    """The address with its revision as a commit, and the paths of all files, sorted.

    Raises:
        CinemaeError: neither the hub nor its cache has the data set, or the cache lacks files of a numbered series.
        MissingDependencyError: huggingface_hub is missing.
    """
    name = f"{SCHEME}datasets/{address.repo}"
    require(name, "data", "huggingface_hub")
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    why = "HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        try:
            info = HfApi().dataset_info(address.repo, revision=address.revision)
            return address._replace(revision=str(info.sha)), sorted(one.rfilename for one in info.siblings or ())
        except HfHubHTTPError as error:
            raise _unreachable(f"{name}@{address.revision}", error) from None
        except Exception as error:  # of the network: its classes differ by the version of huggingface_hub
            why = first_line(error)
    try:
        folder = Path(snapshot_download(address.repo, repo_type="dataset", revision=address.revision,
                                        local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        raise CinemaeError(
            f"{name}@{address.revision}: is not in the hub's cache, and the hub cannot be reached ({why}); run it with "
            f"a network, or download it: hf download --repo-type dataset {address.repo}"
        ) from None
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for path in files:
        if (part := _PART.search(path)) and (lacking := int(part[1]) - _count(path, part, files)):
            raise CinemaeError(
                f"{name}@{address.revision}: the hub cannot be reached ({why}), and {lacking:,} of {int(part[1]):,} "
                f"files like {path} are not in its cache; run it with a network"
            )
    return address._replace(revision=folder.name), files


def _count(path: str, part: re.Match[str], files: list[str]) -> int:
    """How many files belong to the series NAME-00000-of-00012.parquet that `path` is of."""
    start, end = re.sub(r"\d{5}$", "", path[: part.start()]), path[part.start() :]
    return sum(one.startswith(start) and one.endswith(end) for one in files)


def local(name: str) -> str:
    """Where a file of the hub lies here; downloaded into the hub's cache where it lacks it.

    Raises:
        CinemaeError: it cannot be fetched.
    """
    return _local(parse(name))


@lru_cache(maxsize=4096)
def _local(address: HubAddress) -> str:
    name = address.file(address.inside)
    require(name, "data", "huggingface_hub")
    from huggingface_hub import hf_hub_download

    if (found := _cached(address)) is not None:
        return found
    try:
        return hf_hub_download(address.repo, address.inside, repo_type="dataset", revision=address.revision)
    except Exception as error:  # its own classes and those of the network
        raise _unreachable(name, error) from None


def _cached(address: HubAddress) -> str | None:
    # looked up first: hf_hub_download sends requests even for a cached commit
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(address.repo, address.inside, repo_type="dataset", revision=address.revision)
    return found if isinstance(found, str) else None


def for_labels(name: str) -> Any:
    """A file of the hub to read a few columns of: its path where it is cached, else a file that sends range requests.

    Raises:
        CinemaeError: the hub cannot be reached.
    """
    address = parse(name)
    if (found := _cached(address)) is not None:
        return found
    from huggingface_hub import HfFileSystem

    try:
        return HfFileSystem().open(name.removeprefix(SCHEME), "rb", block_size=LABEL_BLOCK)
    except Exception as error:
        raise _unreachable(name, error) from None


def _unreachable(name: str, error: Exception) -> CinemaeError:
    return CinemaeError(
        f"{name}: cannot be fetched ({first_line(error)}); check the name and the network and, for a private or gated "
        "data set, `hf auth login`"
    )
