"""The small library behind the cell-counting book.

Nothing is imported here: a chapter names the module that it teaches
(``from cellcount_lib.training.weightmap import weight_map``), and importing one module does not
load the others.
"""

__version__ = "0.1.0"
