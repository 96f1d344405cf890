"""The folders of the tree become one package, `cinemae`; pyproject.toml maps them, this finds what lies in them."""

from setuptools import find_packages, setup

PARTS = ("runtime", "train", "export", "models")

setup(
    packages=[
        "cinemae",
        *(f"cinemae.{part}" for part in PARTS),
        *(f"cinemae.{part}.{name}" for part in PARTS for name in find_packages(part, exclude=["cinemae"])),
    ]
)
