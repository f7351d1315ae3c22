"""Tars made block by block, also such as no library writes."""

BLOCK = 512
END = bytes(2 * BLOCK)


def checked(block):
    """A header block with its right checksum."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def header(name, size, kind=b"0", link=b"", rest=bytes(167)):
    """512 bytes of a ustar header; the size as a number, or as its field's 12 bytes."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field + b"0" * 11 + b"\0"
    head += b" " * 8 + kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64)
    return checked((head + b"0000000\0" * 2 + rest).ljust(BLOCK, b"\0"))


def member(name, content=b"", kind=b"0", **more):
    """A member: its header and its content, in whole blocks."""
    return header(name, len(content), kind, **more) + content + bytes(-len(content) % BLOCK)


def pax(*records, kind=b"x"):
    """A pax header of (key, value) pairs."""
    lines = []
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        lines.append(b"%d" % length + rest)
    return member(b"pax", b"".join(lines), kind)
