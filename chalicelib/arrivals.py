"""How the files of a version come into the store, and when they are all there.

    one piece   a graph of at most a part's size: staged under a key of its own, its length and SHA-256
                signed into the grant; checked, then copied to where it is kept
    in parts    a larger graph, and any file of weights: straight to where it is kept, where nothing
                is before all parts are joined; afterwards the grants are worth nothing

What has arrived is asked of the store, never of the client. The store knows no SHA-256 of
what came in parts: the host that prepares the version computes it, as hosts do at every download.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from chalicelib.contract.errors import Conflict, InvalidModel
from chalicelib.contract.messages import VersionFile
from chalicelib.ports import ObjectStore, Store, StoredPart, UploadPart
from chalicelib.records import Version


@dataclass(frozen=True, slots=True)
class _Parted:
    """A file that arrives in parts."""

    file: VersionFile
    bytes: int
    object_key: str
    upload_id: str | None


class Arrivals:
    """Grants for what is missing, and the check that nothing is. All of it is safe to repeat."""

    def __init__(self, *, store: Store, objects: ObjectStore, part_bytes: int) -> None:
        self._store = store
        self._objects = objects
        self._part_bytes = part_bytes

    def missing(self, version: Version) -> tuple[UploadPart, ...]:
        """A fresh grant for everything of an uploading version that has not arrived yet."""
        version = self._opened(version)
        whole = () if self._graph_is_parted(version) else self._missing_whole(version)
        parts = (self._granted(one, number) for one in self._parted(version) for number in self._absent(one))
        return (*whole, *parts)

    def keep(self, version: Version) -> None:
        """See that all that was announced is kept. Raises Conflict while something is missing, InvalidModel
        where other bytes than announced came."""
        parted = self._parted(version)
        missing = sum(len(self._absent(one)) for one in parted)
        if missing:
            total = sum(map(self._count, parted))
            raise Conflict(
                f"{missing} of {total} parts have not arrived yet: send them (GET …/upload lists them), "
                "then complete."
            )
        if not self._graph_is_parted(version):
            self._keep_whole(version)
        for one in parted:
            self._join(one)

    def give_up(self, version: Version) -> None:
        """Delete whatever has arrived."""
        self._objects.delete(version.staging_key)
        self._objects.delete_under(version.folder)

    def _graph_is_parted(self, version: Version) -> bool:
        return version.bytes > self._part_bytes or VersionFile.MODEL in version.upload_ids

    def _parted(self, version: Version) -> tuple[_Parted, ...]:
        graph, weights, ids = VersionFile.MODEL, VersionFile.WEIGHTS, version.upload_ids
        files = []
        if self._graph_is_parted(version):
            files.append(_Parted(graph, version.bytes, version.object_key, ids.get(graph)))
        if version.weights is not None:
            second = version.weights
            files.append(_Parted(weights, second.bytes, second.object_key, ids.get(weights)))
        return tuple(files)

    # In one piece.

    def _missing_whole(self, version: Version) -> tuple[UploadPart, ...]:
        stored = self._objects.stored(version.staging_key)
        if stored is None and self._objects.stored(version.object_key) is not None:
            return ()
        if stored is not None and (stored.bytes, stored.sha256) == (version.bytes, version.sha256):
            return ()
        return self._objects.presign_upload(version.staging_key, size=version.bytes, sha256=version.sha256)

    def _keep_whole(self, version: Version) -> None:
        """Copy the upload to its lasting key if it is what was announced."""
        stored = self._objects.stored(version.staging_key)
        if stored is None:
            if self._objects.stored(version.object_key) is not None:
                return  # another call got here first, or died right after the copy
            raise Conflict("The file has not arrived yet: send it to the URL given, then complete.")
        if stored.bytes != version.bytes:
            raise _wrong_size(stored.bytes, version.bytes)
        if stored.sha256 != version.sha256:
            raise InvalidModel("The stored file's SHA-256 is not the one announced. Upload it again.")
        try:
            self._objects.keep(stored, version.object_key)
        except Conflict:
            if self._objects.stored(version.object_key) is None:
                raise
        self._objects.delete(version.staging_key)

    # In parts.

    def _opened(self, version: Version) -> Version:
        """The version with an upload, open or joined already, for each file that comes in parts."""
        for one in self._parted(version):
            if one.upload_id is not None and (self._arrived(one) is not None or self._is_kept(one)):
                continue
            upload_id = self._objects.begin_parts(one.object_key)
            if self._store.set_upload_id(version, one.file, upload_id):
                ids = {**version.upload_ids, one.file: upload_id}
                version = msgspec.structs.replace(version, upload_ids=ids)
            else:  # begun twice at once: the other's counts
                self._objects.abort_parts(one.object_key, upload_id)
                version = self._store.any_version(version.id) or version
        return version

    def _granted(self, one: _Parted, number: int) -> UploadPart:
        grant = self._objects.presign_part(
            one.object_key, one.upload_id or "", number=number, size=self._size(one, number)
        )
        return replace(grant, offset=(number - 1) * self._part_bytes, file=one.file)

    def _absent(self, one: _Parted) -> list[int]:
        """The numbers of the parts that have not arrived.

        Stores take parts away one by one while another call has them joined, once what they make is there.
        """
        sizes = {part.number: part.bytes for part in self._arrived(one) or ()}
        numbers = range(1, self._count(one) + 1)
        absent = [number for number in numbers if sizes.get(number) != self._size(one, number)]
        return [] if absent and self._is_kept(one) else absent

    def _join(self, one: _Parted) -> None:
        wanted = [part for part in self._arrived(one) or () if part.number <= self._count(one)]
        if len(wanted) == self._count(one):
            self._objects.join_parts(one.object_key, one.upload_id or "", wanted)
        stored = self._objects.stored(one.object_key)
        if stored is None:
            raise Conflict("The upload changed while it was joined. Complete it again.")
        if stored.bytes != one.bytes:
            raise _wrong_size(stored.bytes, one.bytes)

    def _arrived(self, one: _Parted) -> Sequence[StoredPart] | None:
        """None when there is no upload, or it has ended."""
        return self._objects.parts(one.object_key, one.upload_id) if one.upload_id else None

    def _is_kept(self, one: _Parted) -> bool:
        return self._objects.stored(one.object_key) is not None

    def _count(self, one: _Parted) -> int:
        return -(-one.bytes // self._part_bytes)

    def _size(self, one: _Parted, number: int) -> int:
        return min(self._part_bytes, one.bytes - (number - 1) * self._part_bytes)


def _wrong_size(stored: int, announced: int) -> InvalidModel:
    return InvalidModel(f"The stored file has {stored} bytes, {announced} were announced. Upload it again.")
