"""Members of zip archives, also those compressed with zstandard, which Python reads from 3.14 on
only and Inspect writes."""

import io
import struct
import zipfile
import zlib
from typing import BinaryIO

from zstandard import ZstdDecompressor, ZstdError

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
    NotImplementedError,
    RuntimeError,
)
"""What Python's zipfile raises for archives that are damaged, encrypted or of another method."""

_ZSTD = 93
_HEADER = struct.Struct("<4s22xHH")


def member(archive: zipfile.ZipFile, stream: BinaryIO, name: str, largest: int) -> bytes | None:
    """What a member holds; None where that is more than `largest` bytes. One of BROKEN where it
    is damaged."""
    info = archive.getinfo(name)
    if info.file_size > largest:
        return None
    if info.compress_type != _ZSTD:
        with archive.open(info) as inside:
            found = inside.read(largest + 1)
        return None if len(found) > largest else found
    stream.seek(info.header_offset)
    signature, name_length, extra_length = _HEADER.unpack(stream.read(_HEADER.size))
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member without its header")
    stream.seek(name_length + extra_length, io.SEEK_CUR)
    packed = io.BytesIO(stream.read(info.compress_size))
    try:
        with ZstdDecompressor().stream_reader(packed, read_across_frames=True) as inside:
            found = inside.read(largest + 1)
    except ZstdError as wrong:
        raise zipfile.BadZipFile("a damaged member") from wrong
    return None if len(found) > largest else found
