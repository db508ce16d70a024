"""What is scored without training: baselines, controls, and networks on pictures of another kind.

`score` has them all by name.
"""
