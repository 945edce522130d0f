"""The picture of a watch: who waited and who ran when, drawn from the transitions that `watch --json` printed.

`lifelines` reads them and needs nothing more; only `picture` imports matplotlib, which the extra `plot` brings.
"""
