"""`python -m sightline`: what containers run."""

from sightline.cli import main

main()
