"""C code that lets the GIL go and computes: hashlib, zlib, numpy (OpenBLAS)."""

import hashlib
import zlib

import numpy

from many import fan_out, report, timed


def body(number):
    data = bytes([number % 251]) * 200_000
    packed = zlib.compress(data, 6)
    assert zlib.decompress(packed) == data
    matrix = numpy.arange(64 * 64, dtype=float).reshape(64, 64) % (number + 7)
    product = matrix @ matrix.T
    singular = numpy.linalg.svd(matrix, compute_uv=False)
    return hashlib.sha256(data).hexdigest(), zlib.crc32(packed), product.sum(), round(float(singular[0]), 6)


report("numpy", numpy.__version__, timed(lambda: fan_out(body)))
