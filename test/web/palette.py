"""Makes a PNG small: one byte a pixel, for the 256 most frequent colours. The others become the nearest of them."""
import collections
import struct
import zlib


def chunks(png):
    at = 8
    while at < len(png):
        length, = struct.unpack_from(">I", png, at)
        yield png[at + 4:at + 8], png[at + 8:at + 8 + length]
        at += 12 + length


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def paeth(left, up, corner):
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def rows(data, width, size):
    """The rows without their filters. size: of a pixel, in bytes."""
    length = width * size
    before = bytearray(length)
    for start in range(0, len(data), length + 1):
        kind, row = data[start], bytearray(data[start + 1:start + 1 + length])
        for i in range(length if kind else 0):
            left, up, corner = (row[i - size], before[i], before[i - size]) if i >= size else (0, before[i], 0)
            row[i] = row[i] + (left, up, (left + up) // 2, paeth(left, up, corner))[kind - 1] & 255
        yield row
        before = row


def small(png):
    """The same picture. It must have 8 bits a channel, and no interlacing."""
    parts = list(chunks(png))
    width, height, depth, kind = struct.unpack_from(">IIBB", parts[0][1])
    size = {2: 3, 6: 4}[kind]
    assert depth == 8
    data = zlib.decompress(b"".join(data for name, data in parts if name == b"IDAT"))
    pixels = [[bytes(row[i:i + 3]) for i in range(0, len(row), size)] for row in rows(data, width, size)]

    frequent = collections.Counter(pixel for row in pixels for pixel in row).most_common()
    palette = [pixel for pixel, _ in frequent[:256]]
    index = {pixel: i for i, pixel in enumerate(palette)}
    for pixel, _ in frequent[256:]:
        index[pixel] = min(range(256), key=lambda i: sum((a - b) ** 2 for a, b in zip(pixel, palette[i])))
    lines = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)) + \
        chunk(b"PLTE", b"".join(palette)) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
