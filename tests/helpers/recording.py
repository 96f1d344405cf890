"""Calls that keep their arguments."""

from __future__ import annotations


def recording(function, seen):
    """`function` of an extractor, which keeps the images it is given."""

    def call(self, images):
        seen.append(images)
        return function(self, images)

    return call
