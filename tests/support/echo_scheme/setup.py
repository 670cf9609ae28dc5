"""A package that offers echo:// to Portal, as any other package may."""

from setuptools import setup

setup(
    name="portal-echo",
    version="1.0",
    packages=["portal_echo"],
    entry_points={"portal.schemes": ["echo = portal_echo:EchoResolver", "broken = portal_echo:broken"]},
)
