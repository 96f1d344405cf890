"""Facts about an image's origin from the bytes of its own file, beside the score and never part of it."""
