"""Tables: collected from records, compared, rendered, and verified.

`collect` makes two tidy files of records; `compare` makes means, intervals and comparisons of them;
`render` says what a table shows, `formats` in Markdown, HTML and LaTeX; `write` leaves all files of
a table in results/, and `kept` the executed notebooks, once per run. `verify`, `stale` and
`rescore` look whether they still hold. `committed` and `quoted` are what chapters and prose read,
`findings` says which of two rows is better, and how sure that is; `command` is the command line. No
network is asked here.
"""
