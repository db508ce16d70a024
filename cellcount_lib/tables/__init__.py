"""Tables: collected from records, compared, rendered, and verified.

`collect` reads records and leaves two tidy files per grid in results/; `compare` makes means,
intervals and tests of them; `render` makes Markdown, LaTeX and HTML; `verify` does it all again and
reports differences; `quoted` finds what prose quotes; `command` is the command line. Nothing here
computes a prediction.
"""
