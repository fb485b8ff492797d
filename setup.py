"""Where the parts of the package come from; everything else about it stands in pyproject.toml.

The rooms and scripts of the repository go below `uncover/_rooms`, since names like `utils` and `data` at the top of
site-packages would be those of other people's packages too. `uncover/__init__.py` imports them from there.
"""

from setuptools import find_packages, setup

ROOMS = find_packages(exclude=["tests", "tests.*", "uncover", "uncover.*"])
setup(
    packages=["uncover", "uncover._rooms", *(f"uncover._rooms.{room}" for room in ROOMS)],
    package_dir={"uncover._rooms": ".", "uncover": "uncover"},
    package_data={
        "uncover._rooms.configs": ["*.yml", "*.md"],
        "uncover._rooms.data": ["*/*.sha256", "*/*.yml", "synthesis/cutouts/**/*"],
        "uncover._rooms.inference": ["*.html", "*.md"],
        "uncover._rooms.test_code": ["*.pdparams", "*.onnx", "*.onnx.json", "samples/**/*"],
        "uncover._rooms.web": ["**/*"],
    },
)
