"""What the image libraries would print: kept off stderr; libtiff's first error of an image becomes its reason."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings

_MAPS = "/proc/self/maps"
_LONGEST = 200
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


class _First(threading.local):
    text = ""


_first = _First()


def silence_libraries() -> None:
    """For the commands, whose records name damaged files; a program that imports the package decides for itself.

    A single damaged TIFF makes libtiff write hundreds of lines. Its handlers belong to the whole process and are set in
    the copy that Pillow has loaded, which only Linux tells; elsewhere libtiff goes on printing.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("PIL", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import PIL._imaging  # noqa: F401  (loads libtiff)

    try:
        with open(_MAPS) as maps:
            loaded = {line.split(maxsplit=5)[-1].strip() for line in maps if "/libtiff" in line}
        for path in loaded:
            library = ctypes.CDLL(path)
            library.TIFFSetWarningHandler(None)
            library.TIFFSetErrorHandler(_keep_first)
    except (OSError, AttributeError):
        return


def take_error() -> str:
    """libtiff's first error in this thread since the last call; "" without one."""
    text, _first.text = _first.text, ""
    return text


@_Handler
def _keep_first(module: bytes | None, template: bytes | None, arguments: int | None) -> None:
    """TIFFErrorHandler of libtiff's tiffio.h: module, printf template, va_list (passed by pointer on Linux)."""
    if template is None or _first.text:
        return
    buffer = ctypes.create_string_buffer(_LONGEST)
    ctypes.CDLL(None).vsnprintf(buffer, ctypes.c_size_t(_LONGEST), template, ctypes.c_void_p(arguments))
    text = buffer.value.decode("utf-8", "replace")
    _first.text = f"{module.decode('utf-8', 'replace')}: {text}" if module else text
