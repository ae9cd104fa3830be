"""Model files on this host's disk, by tenant, version and SHA-256.

A file stands under its final name only after its bytes have hashed to the SHA-256
asked for; what an earlier process left is hashed again before its first use. Each
file has a directory of its own, so that no model can name another's file as its
data; a graph and the weights that were uploaded beside it share one, which appears
whole or not at all. The prepared form, a folder, lies beside it and is an entry of its own: the
one that is asked for stays. May be called from several threads.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, NoCapacity, NotFound
from chalicelib.contract.messages import WEIGHTS_LOCATION, WeightsFile
from host_container import prepared
from host_container.cache import Cache, Item, Refused
from host_container.prepared import Built, ModelFiles
from host_container.providers import Provider

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK_BYTES: Final = 1024 * 1024
_TRIES: Final = 2
_LOCKS: Final = 64
"""Locks shared by all keys: one download per file at a time."""
_CONNECT_SECONDS: Final = 1.0
_READ_SECONDS: Final = 10.0
_STORE_TRIES: Final = 3
_FETCH_BYTES_PER_SECOND_MIN: Final = 5e6
"""A store slower than this for long counts as away; the load slot is needed for others."""
_FETCH_BYTES_PER_SECOND: Final = 50e6
"""What a download is taken to cost when deciding which file to keep; only the order matters."""
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX: Final = ".onnx"
_PAIR: Final = ".pair"
"""Of a folder with a graph and its weights."""
_GRAPH: Final = "model.onnx"
_MISSING: Final = frozenset({"404", "NoSuchKey"})
_REFUSED: Final = "AccessDenied"
_LISTING: Final = "not authorized to perform: s3:ListBucket"
"""What S3 says it refuses whoever asks for an object that is not there, and may not know that. Where an
object or its key is refused it names another action."""


class ArtifactMissing(DependencyFailed):
    """The store answers, and does not have it."""


class ArtifactCorrupt(DependencyFailed):
    """The store's bytes are not those that were asked for, twice in a row."""


class _File(Protocol):
    """One object in the store."""

    @property
    def sha256(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def object_key(self) -> str: ...


class Artifact(_File, Protocol):
    """What identifies a version's files: a VersionRecord does, a PrepareJob too."""

    @property
    def tenant(self) -> str: ...
    @property
    def version_id(self) -> str: ...
    @property
    def weights(self) -> WeightsFile | None: ...
    @property
    def bytes_in_all(self) -> int: ...


def connect(endpoint_url: str | None) -> S3Client:
    """The store. Server errors are retried with capped backoff by the client itself."""
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": _STORE_TRIES, "mode": "standard"},
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
    return boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=config)


class Artifacts:
    """The disk tier: files within a budget, the least valuable deleted first."""

    def __init__(
        self,
        store: S3Client,
        *,
        bucket: str,
        folder: Path,
        bytes_max: int,
        clock: Callable[[], float],
        provider: Provider = Provider.CPU,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._files = folder / "versions"
        self._incoming = folder / "incoming"
        self._clock = clock
        self._form = prepared.form(provider)
        self._lock = threading.Lock()
        self._cache = Cache(bytes_max)
        self._verified: set[str] = set()
        self._dropped: set[str] = set()
        self.downloads = 0
        self._fetching = tuple(threading.Lock() for _ in range(_LOCKS))

    def open(self) -> None:
        """Take over what an earlier process left: finished files are kept, unfinished ones are not."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        for folder in (self._incoming, self._files):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self._files.glob("*/*/*"), key=lambda path: path.stat().st_mtime):
            self._adopt(path)

    @contextmanager
    def held(self, artifact: Artifact) -> Iterator[Path]:
        """The graph, downloaded where needed, and not deleted meanwhile; weights apart lie beside it.

        Raises DependencyFailed, ArtifactMissing, ArtifactCorrupt, NoCapacity, and NotFound where it was
        dropped.
        """
        key = _key(artifact)
        with self._fetching[hash(key) % _LOCKS]:
            if not self._pin_verified(key, lambda place: _intact(place, artifact)):
                self._fetch(key, artifact)
        try:
            yield self._files / key if artifact.weights is None else self._files / key / _GRAPH
        finally:
            self._unpin(key)

    @contextmanager
    def held_to_load(self, artifact: Artifact) -> Iterator[ModelFiles]:
        """The prepared form for this machine where there is one, else what `held` gives."""
        key = self._form_key(artifact)
        with self._fetching[hash(key) % _LOCKS]:
            there = self._pin_verified(key, prepared.intact)
        files = prepared.read(self._files / key) if there else None
        try:
            if files is not None:
                yield files
            else:
                with self.held(artifact) as path:
                    yield prepared.uploaded(path)
        finally:
            if there:
                self._unpin(key)

    def has(self, artifact: Artifact) -> bool:
        """Whether its files, in either form, are here, as far as anybody looked."""
        with self._lock:
            return self._form_key(artifact) in self._cache or _key(artifact) in self._cache

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder on the disk of the files, gone afterwards."""
        folder = self._incoming / uuid.uuid4().hex
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep_prepared(self, artifact: Artifact, folder: Path, built: Built) -> None:
        """Take over a form from a workspace. Raises ValueError for a folder that holds anything else,
        NoCapacity, NotFound, OSError."""
        key, size = self._form_key(artifact), prepared.seal(folder, built)
        with self._fetching[hash(key) % _LOCKS]:
            if key in self._cache:
                return
            with self._reserved_then_pinned(key, size):
                self._delete(key)  # what an eviction may have left by half
                target = self._files / key
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                folder.rename(target)
                self._verified.add(key)
        self._unpin(key)

    def drop_prepared(self, artifact: Artifact) -> None:
        """It does not load after all. One that others hold stays, for them to find out."""
        key = self._form_key(artifact)
        with self._fetching[hash(key) % _LOCKS]:
            with self._lock:
                if key not in self._cache or self._cache.pinned(key):
                    return
                self._cache.forget(key)
            self._delete(key)

    def drop(self, version_ids: Collection[str]) -> frozenset[str]:
        """Delete all there is of these versions, and take in no more. Ids of those that are still in use."""
        with self._lock:
            self._dropped.update(version_ids)
            there = [key for key in self._cache.everything() if _version_id(key) in version_ids]
        return frozenset(_version_id(key) for key in there if not self._dropped_unless_used(key))

    def _dropped_unless_used(self, key: str) -> bool:
        with self._lock:
            if key not in self._cache or self._cache.pinned(key):
                return False
            self._cache.forget(key)
        self._delete(key)
        return True

    @property
    def bytes_used(self) -> int:
        return self._cache.bytes_used

    def _form_key(self, artifact: Artifact) -> str:
        return f"{_stem(artifact)}.{self._form}"

    def _adopt(self, path: Path) -> None:
        key = str(path.relative_to(self._files))
        ours = path.name.endswith((self._form, _PAIR) if path.is_dir() else _SUFFIX)
        item = _item(key, prepared.size(path) if path.is_dir() else path.stat().st_size)
        if not ours or not self._cache.reserve_free(item, now=self._clock()):
            self._delete(key)
            return
        self._cache.commit(key, now=self._clock())

    def _pin_verified(self, key: str, intact: Callable[[Path], bool]) -> bool:
        """Whether it is there and, looked at once by this process, still what it was."""
        with self._lock:
            if key not in self._cache:
                return False
            self._cache.pin(key, now=self._clock())
        if key in self._verified or intact(self._files / key):
            self._verified.add(key)
            return True
        with self._lock:
            self._cache.unpin(key)
            self._cache.forget(key)
        self._delete(key)
        return False

    def _unpin(self, key: str) -> None:
        with self._lock:
            self._cache.unpin(key)

    def _fetch(self, key: str, artifact: Artifact) -> None:
        """Download it; it is pinned afterwards."""
        with self._reserved_then_pinned(key, artifact.bytes_in_all), self.workspace() as incoming:
            place = self._files / key
            try:
                self._download_checked(artifact, incoming / _GRAPH)
                if artifact.weights is not None:
                    self._download_checked(artifact.weights, incoming / WEIGHTS_LOCATION)
                self.downloads += 1
                self._delete(key)  # what an eviction may have left by half
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                (incoming if artifact.weights else incoming / _GRAPH).rename(place)
            except OSError as error:
                raise NoCapacity("This host's disk does not take the model. Try again shortly.") from error
            self._verified.add(key)

    @contextmanager
    def _reserved_then_pinned(self, key: str, size: int) -> Iterator[None]:
        try:
            with self._lock:
                if _version_id(key) in self._dropped:
                    raise NotFound("There is no such model.")
                victims = self._cache.reserve(_item(key, size), now=self._clock())
        except Refused as error:
            raise NoCapacity(
                f"This host's disk cannot take the model now. {error}", retry_after=error.retry_after or 60
            ) from error
        try:
            for victim in victims:
                self._delete(victim)
            yield
        except BaseException:
            with self._lock:
                self._cache.forget(key)
            raise
        with self._lock:
            self._cache.commit(key, now=self._clock())
            self._cache.pin(key, now=self._clock())

    def _download_checked(self, file: _File, path: Path) -> None:
        """Truncated and corrupted bytes are fetched once more."""
        for _ in range(_TRIES):
            if self._download(file, path) == file.sha256:
                return
        raise ArtifactCorrupt("The stored model file is not what was uploaded: its SHA-256 differs.")

    def _download(self, wanted: _File, path: Path) -> str:
        """The SHA-256 of what came; empty when it broke off."""
        try:
            body = self._store.get_object(Bucket=self._bucket, Key=wanted.object_key)["Body"]
        except ClientError as error:
            raise _translated(error) from error
        except BotoCoreError as error:
            raise _away() from error
        digest, size = hashlib.sha256(), 0
        gives_up_at = self._clock() + _seconds_max(wanted.bytes)
        try:
            with body, path.open("wb") as file:
                while size <= wanted.bytes and (chunk := body.read(_CHUNK_BYTES)):
                    size += len(chunk)
                    digest.update(chunk)
                    file.write(chunk)
                    if self._clock() > gives_up_at:
                        raise _away()
        except BotoCoreError:  # timeouts and broken connections while streaming
            return ""
        return digest.hexdigest() if size == wanted.bytes else ""

    def _delete(self, key: str) -> None:
        self._verified.discard(key)
        path = self._files / key
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        for folder in list(path.parents)[:2]:
            try:
                folder.rmdir()
            except OSError:  # not empty
                break


def _item(key: str, size: int) -> Item:
    return Item(key, bytes=size, cost_seconds=size / _FETCH_BYTES_PER_SECOND)


def _version_id(key: str) -> str:
    return key.split("/")[1]


def _seconds_max(size: int) -> float:
    return max(limits.LOAD_SECONDS_MAX, size / _FETCH_BYTES_PER_SECOND_MIN)


def _key(artifact: Artifact) -> str:
    """The file's place. Ids come from our own control plane; a path is nothing to take chances with."""
    return _stem(artifact) + (_SUFFIX if artifact.weights is None else _PAIR)


def _stem(artifact: Artifact) -> str:
    parts = (artifact.tenant, artifact.version_id, artifact.sha256)
    if not all(_SAFE.fullmatch(part) for part in parts):
        raise ArtifactMissing("The model's record is damaged.")
    return "/".join(parts)


def _intact(place: Path, artifact: Artifact) -> bool:
    """Whether what lies here still hashes to what was asked for."""
    if artifact.weights is None:
        return _sha256(place) == artifact.sha256
    hashes = (_sha256(place / _GRAPH), _sha256(place / WEIGHTS_LOCATION))
    return hashes == (artifact.sha256, artifact.weights.sha256)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _translated(error: ClientError) -> DependencyFailed:
    told = error.response.get("Error", {})
    code, message = told.get("Code"), told.get("Message", "")
    if code in _MISSING or (code == _REFUSED and _LISTING in message):
        return ArtifactMissing("The model's file is not in the store.")
    return _away()


def _away() -> DependencyFailed:
    return DependencyFailed("The model store does not answer. Try again shortly.", retry_after=5)
