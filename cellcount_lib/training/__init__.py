"""Training: recipes and profiles, the fastai Learner, checkpoints, and one call that runs it all.

Read in this order: `recipes` (how a network is trained) and `profiles` (at which scale), `settings`
(one training by name), `data` (pictures and crops), `loader` (batches), `learner` (the Learner,
whole), `callbacks`, `checkpoint`, `run` (from settings to a trained network), `result` (its cutoff,
its scores, its files).

Taught in: 03_one_experiment
"""
