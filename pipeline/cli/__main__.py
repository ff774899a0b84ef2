"""`python -m watchline.pipeline.cli`: the command without its script."""

from watchline.pipeline.cli.entry import main

main()
